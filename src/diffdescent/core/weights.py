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
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown

from .executor import Executor
from .grid import Grid
from .plan import Output, Plan
from .predict import Basis, Prediction, conversion
from .process import Array, Point
from .solvers.base import Solver
from .transforms.base import Commit, Displacement, Estimate, Rewrite, Transform


@dataclass(frozen=True)
class Weights:
    """The coefficients of every committed state; float64.

    ``start`` (S,) multiplies x_T, ``evals`` (S, E) the evaluations in the order in which they are
    taken, ``noise`` (S, D) the unit noise draws, for S committed states at the levels ``points``.
    ``at`` are the levels and ``steps`` the steps of the E evaluations, ``draws`` the (step, draw)
    of the noise. The last state is the result.
    """

    name: str
    basis: Basis
    first: Point
    points: tuple[Point, ...]
    at: tuple[Point, ...]
    steps: tuple[int, ...]
    draws: tuple[tuple[int, int], ...]
    start: Array
    evals: Array
    noise: Array

    @property
    def result(self) -> Array:
        """The weights of the evaluations in the result, (E,)."""
        return np.asarray(self.evals[-1])

    @property
    def labels(self) -> tuple[str, ...]:
        """One short name per evaluation: ``t=749`` for the step's own, with a prime for every
        further one."""
        names: list[str] = []
        for i, point in enumerate(self.at):
            earlier = sum(s == self.steps[i] for s in self.steps[:i])
            names.append(f"t={_short(point.t)}" + "'" * earlier)
        return tuple(names)

    @property
    def totals(self) -> Array:
        """A constant estimate of 1 in each state, over the level's α (x0) or σ (ε): 1 for base
        plans, (S,).

        x0: (w_T·α_T + Σ w_i)/α_s. ε: (w_T·σ_T + Σ w_i)/σ_s, NaN at σ_s = 0.
        """
        x0 = self.basis == "x0"
        levels = np.array([p.alpha if x0 else p.sigma for p in self.points])
        first = self.first.alpha if x0 else self.first.sigma
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(
                np.where(levels > 0, (self.start * first + self.evals.sum(1)) / levels, np.nan)
            )

    @property
    def noise_left(self) -> Array:
        """The standard deviation of the noise in each state over a constant x0: √((w_T·σ_T)² + Σ
        v_k²), (S,).

        Read it from x0 weights: the estimates then hold no noise.
        """
        return np.asarray(np.sqrt((self.start * self.first.sigma) ** 2 + (self.noise**2).sum(1)))

    @property
    def summary(self) -> str:
        """Four lines about the result, for people."""
        w, kind = self.result, "x0" if self.basis == "x0" else "ε"
        top = int(np.abs(w).argmax())
        lines = [
            (
                f"{self.name}: {len(self.points)} steps, {len(self.at)} evaluations,"
                f" {len(self.draws)} noise draws"
            ),
            (
                f"result = {self.start[-1]:+.4g}·x_T, {kind} weights summing to {w.sum():+.6g} "
                f"(negative ones {w[w < 0].sum():+.4g})"
            ),
            f"largest weight {w[top]:+.4g} at {self.labels[top]}; Σ|w| = {np.abs(w).sum():.4g}",
        ]
        if self.basis == "x0":
            own = self.points[-1].sigma
            lines.append(
                f"noise left at the end: {self.noise_left[-1]:.4g} (the level's own is {own:.4g})"
            )
        return "\n".join(lines)

    def table(self, digits: int = 4) -> str:
        """Plain text: a row per committed state, a column for x_T and for each evaluation (and one
        for √Σv²)."""
        head = ["t", "σ/α", "x_T", *self.labels]
        columns = [self.start[:, None], self.evals]
        if self.draws:
            head.append("noise")
            columns.append(np.sqrt((self.noise**2).sum(1, keepdims=True)))
        cells = [
            [_short(p.t), f"{p.ratio:.4g}", *("·" if v == 0 else f"{v:.{digits}f}" for v in row)]
            for p, row in zip(self.points, np.hstack(columns), strict=True)
        ]
        widths = [max(len(row[i]) for row in [head, *cells]) for i in range(len(head))]
        return "\n".join(
            "  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True))
            for row in [head, *cells]
        )


class Chain(Protocol):
    """A solver and its transforms: a :class:`~diffdescent.core.recipe.Recipe`."""

    @property
    def solver(self) -> Solver: ...

    @property
    def transforms(self) -> tuple[Transform, ...]: ...


@dataclass
class _Record(Displacement):
    """The last displacement of the chain: it writes down every committed state."""

    states: list[Tensor] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    name: ClassVar[str] = "record"
    linear: ClassVar[bool] = True

    def init(self, plan: Plan) -> None:
        return None

    def update(self, state: None, commit: Commit) -> tuple[Tensor, None]:
        self.states.append(commit.proposal)
        self.points.append(commit.dst)
        return commit.proposal, None


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


def _short(t: float) -> str:
    """A time for people; the last bits of a level found by inversion are not for them."""
    return f"{round(t, 9) + 0.0:.4g}"


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


def effective_weights(
    sampler: Plan | Chain,
    grid: Grid | None = None,
    *,
    transforms: Sequence[Transform] = (),
    basis: Basis = "x0",
    band: tuple[int, int] | None = None,
) -> Weights:
    """How much each past evaluation counts in every committed state of a linear sampler.

    ``sampler`` is a recipe with its ``grid``, or a plan; ``transforms`` are appended to the chain.
    ``basis`` says whether the evaluations are estimates of x0 or of ε. Where coefficients depend on
    the spatial frequency, ``band`` = (group of channel axes, knot) reads the weights there; without
    it they are the mean over the axes and knots.

    Example::

        weights = effective_weights(parse("ge(gamma=2) | momentum(beta=-0.3)"), grid)
        print(weights.table())

    Raises :class:`UserError` with the reason when the chain is not linear, and when a level leaves
    ``basis`` undetermined (ε at σ = 0; x0 at α = 0).
    """
    if basis not in ("x0", "eps"):
        raise unknown("basis", basis, ("x0", "eps"))
    if isinstance(sampler, Plan):
        plan = sampler
    else:
        if grid is None:
            raise UserError("The effective weights of a recipe depend on the grid; give grid=.")
        plan, transforms = sampler.solver.plan(grid), (*sampler.transforms, *transforms)
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
    record = _Record()
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
