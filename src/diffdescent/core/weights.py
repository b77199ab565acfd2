"""Effective weights: how much x_T, each evaluation and each noise draw count in every state that a
sampler commits.

A linear sampler's state is x_s = w_T·x_T + Σ_i w_i·h_i + Σ_k v_k·z_k whatever the network says,
with h_i the estimate of x0 (or ε) of evaluation i and z_k unit noise. The numbers come from the
executor itself, run on basis vectors: the "image" is the vector of its own coefficients, evaluation
i answers with the i-th unit vector. So they cannot disagree with what runs, and momentum, gradient
estimation and lower-order starts are counted without a formula of their own.

Where the estimate is constant, h_i = c, every base plan obeys w_T·α_T + Σ w_i = α_s and (w_T·σ_T)²
+ Σ v_k² = σ_s² (x0 weights); momentum does not: where the base's displacements r sum to Σr, its
own, m ← βm + (1 − β)r, sum to Σm = Σr − β/(1 − β)·(m_end − m_start).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.base.words import shown
from diffdescent.core.calls import check_call

from .executor import Executor
from .grid import Grid
from .plan import Output, Plan
from .predict import Basis, Prediction, conversion
from .process import VP, Point, Process
from .recipe import Recipe, default_grid, parse, parse_grid
from .solvers.base import Solver
from .transforms.base import Displacement, Estimate, Rewrite, Transform
from .transforms.committed import Committed
from .weight_table import Weights


class Chain(Protocol):
    """A solver and its transforms: a :class:`~diffdescent.core.recipe.Recipe`."""

    @property
    def solver(self) -> Solver: ...

    @property
    def transforms(self) -> tuple[Transform, ...]: ...


@dataclass(frozen=True)
class _UnitNoise:
    """Noise draws answer with their own unit vectors."""

    width: int
    offset: int
    draws: tuple[tuple[int, int], ...]

    def initial(self, shape: Sequence[int]) -> Tensor:
        raise AssertionError("x_T is a basis vector here")

    def __call__(self, x: Tensor, step: int, draw: int, src: Point, dst: Point) -> Tensor:
        return _unit(self.width, self.offset + self.draws.index((step, draw)))


def _unit(width: int, index: int) -> Tensor:
    vector = torch.zeros(1, width, dtype=torch.float64)
    vector[0, index] = 1.0
    return vector


def _draws(plan: Plan) -> tuple[tuple[int, int], ...]:
    """The (step, draw) keys of a plan's noise, in order."""
    outputs: list[tuple[int, Output]] = [(plan.rows[0].step, out) for out in plan.start]
    outputs += [(row.step, out) for row in plan.rows for out in row.outputs]
    if any(out.log_var for _, out in outputs):
        raise UserError(
            f"{plan.name} has no effective weights: its noise is scaled by a variance that the"
            " network predicts. Choose variance=small or variance=large."
        )
    return tuple(dict.fromkeys((step, out.draw) for step, out in outputs if out.noise))


def _split(
    transforms: Sequence[Transform],
) -> tuple[list[Rewrite], list[Estimate], list[Displacement]]:
    for transform in transforms:
        if not transform.linear:
            raise UserError(
                f"A chain with {transform.name!r} has no effective weights: {transform.name} is not"
                " linear in the evaluations, so how much each counts depends on the image. Leave"
                " it out to read the rest."
            )
    return (
        [t for t in transforms if isinstance(t, Rewrite)],
        [t for t in transforms if isinstance(t, Estimate)],
        [t for t in transforms if isinstance(t, Displacement)],
    )


def _mean(found: Sequence[Weights]) -> Weights:
    """The mean of weights that differ in their numbers alone."""
    start, evals, noise = (
        np.mean([getattr(one, name) for one in found], axis=0)
        for name in ("start", "evals", "noise")
    )
    return replace(found[0], start=start, evals=evals, noise=noise)


def _levels(chain: Chain, grid: str | None, process: Process | None, steps: int) -> Grid:
    """The grid of a text, or the usual one of a chain."""
    kind = process or VP.named("linear")
    if grid is None:
        whole = chain if isinstance(chain, Recipe) else Recipe(chain.solver, chain.transforms)
        grid = default_grid(whole, kind)
    return parse_grid(grid, kind, steps)


def effective_weights(
    sampler: Plan | Chain | str,
    grid: Grid | str | None = None,
    *,
    steps: int = 10,
    process: Process | None = None,
    transforms: Sequence[Transform] = (),
    basis: Basis = "x0",
    band: tuple[int, int] | None = None,
) -> Weights:
    """How much each past evaluation counts in every committed state of a linear sampler.

    ``sampler`` is a plan, or a recipe or its text with a ``grid``: one that is made, or a text
    (None: the recipe's usual one), which is then laid out in ``steps`` steps of ``process`` (None:
    the linear VP process of 1000 steps). ``transforms`` are appended to the chain. ``basis`` says
    whether the evaluations are estimates of x0 or of ε. Where coefficients depend on the spatial
    frequency, ``band`` = (group of channel axes, knot) reads the weights there; without it they are
    the mean over the axes and knots.

    Example::

        weights = effective_weights("ge(gamma=2) | momentum(beta=-0.3)", "loglinear", steps=10)
        print(weights.table())

    Args:
        sampler: a plan, or a recipe or its text.
        grid: the noise levels, or their text; None is the recipe's usual grid, or the plan's own.
        steps: of a grid that is a text or the usual one.
        process: on which such a grid is laid out; None is the linear VP process of 1000 steps.
        transforms: appended to the chain.
        basis: whether the evaluations are estimates of x0 or of ε.
        band: (group of channel axes, knot) at which frequency-dependent coefficients are read; None
            takes their mean over axes and knots.

    Returns:
        The :class:`Weights`: a row for each committed state, a column for each evaluation.

    Raises:
        UserError: with the reason when the chain is not linear, and when a level leaves ``basis``
            undetermined (ε at σ = 0; x0 at α = 0).
    """
    if isinstance(basis, str) and basis not in ("x0", "eps"):
        raise unknown("basis", basis, ("x0", "eps"))
    check_call(effective_weights, locals())
    if isinstance(sampler, Plan):
        plan = sampler
    else:
        chain = parse(sampler) if isinstance(sampler, str) else sampler
        if not hasattr(chain, "solver"):
            raise UserError(f"Weights are of a plan, a recipe or its text, not of {shown(chain)}.")
        levels = grid if isinstance(grid, Grid) else _levels(chain, grid, process, steps)
        plan, transforms = chain.solver.plan(levels), (*chain.transforms, *transforms)
    rewrites, estimates, displacements = _split(transforms)
    for rewrite in rewrites:
        plan = rewrite.rewrite(plan)

    if plan.spectral is not None:
        options: Any = {"transforms": transforms, "basis": basis}
        if band is None:
            every = product(plan.spectral.axes.groups, range(plan.spectral.bands.count))
            return _mean([effective_weights(plan.at_band(*one), **options) for one in every])
        return effective_weights(plan.at_band(*band), **options)

    draws = _draws(plan)
    width = 1 + plan.nfe + len(draws)
    record = Committed()
    executor = Executor(
        plan,
        _unit(width, 0),
        noise=_UnitNoise(width, 1 + plan.nfe, draws),
        estimates=deepcopy(estimates),  # a monitor is not shown basis vectors
        displacements=[*displacements, record],
        dtype=torch.float64,
    )
    while not executor.done:
        query = executor.ask()
        executor.tell(Prediction(_unit(width, 1 + query.index), conversion(basis, query.at)))

    table = torch.cat(record.states).numpy()
    return Weights(
        name=" | ".join([plan.name, *(t.name for t in transforms if not isinstance(t, Rewrite))]),
        basis=basis,
        first=plan.grid.points[0],
        points=tuple(record.points),
        at=tuple(row.at for row in plan.rows),
        steps=tuple(row.step for row in plan.rows),
        draws=draws,
        start=table[:, 0],
        evals=table[:, 1 : 1 + plan.nfe],
        noise=table[:, 1 + plan.nfe :],
    )
