"""Constrained sampling as projected gradient descent on the distance to the data.

In the coordinates z = x/α a step of DDIM from σ̃ to σ̃_s is z − β(z − D(z)), β = 1 − σ̃_s/σ̃:
gradient descent on ½dist_K², since D is nearly the projection on the data K. With the estimate
projected on the constraint C it is

    z ← (1 − β) z + β P_C D(z),

averaged alternating projections between K and C. For subspaces at a smallest angle θ (Friedrichs)
D = P_K, and a step keeps of the distance to K ∩ C the part 1 − β sin²θ; without averaging (β = 1)
it is von Neumann's cos²θ. Over many small steps Π(1 − β sin²θ) → (σ̃_end/σ̃_start)^{sin²θ}: the
distance to the intersection falls only as that power of the noise. Ancestral steps (DDIM with η =
1) take β = 1 − (σ̃_s/σ̃)², and the power doubles. Where sets are curved and meet
transversally the same holds near the intersection, with the angle between the tangent spaces (Lewis
and Malick 2008).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.constraints import ConstraintSet
from diffdescent.core.grid import Grid
from diffdescent.core.process import VE, Array, Point, Process
from diffdescent.core.recipe import Recipe, parse, parse_grid
from diffdescent.core.transforms import Project
from diffdescent.models.exact import Exact, ExactKind
from diffdescent.run import Progress, initial_state, noise_for, sample

from .sets import Set, Subspace, smoothed
from .sets.base import identity


class SetDenoiser(Exact):
    """The exact denoiser of data spread evenly over a set: E[x0 | x] = z − ∇(smoothed ½dist²)(z),
    z = x/α (for a subspace the projection itself)."""

    width = 64

    def __init__(self, data: Set, process: Process | None = None) -> None:
        super().__init__(VE() if process is None else process, data.shape, "set", None)
        self.data = data

    def evaluate(self, x: Tensor, point: Point, kind: ExactKind, cond: Tensor | None) -> Tensor:
        z = (x / point.alpha).reshape(-1, *self.data.shape)
        away = smoothed(self.data, z, point.ratio).gradient.flatten(1)
        return z.flatten(1) - away if kind == "x0" else away * (point.alpha / point.sigma)

    def fingerprint(self) -> str:
        return identity(self.data)


class SetConstraint(ConstraintSet):
    """A set of the theory as a constraint; ``affine`` where it is a subspace."""

    def __init__(self, allowed: Set) -> None:
        self.allowed = allowed
        self.affine = isinstance(allowed, Subspace)
        self.convex = self.affine

    def project(self, x: Tensor) -> Tensor:
        return self.allowed.project(x).nearest.to(x)


Distance = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Descent:
    """The distances of n runs before the first step and after each: to the data, to the constraint,
    and to what both share, each (steps + 1, n); the levels ``sigma`` (steps + 1,). ``ends`` are the
    last states (n, *shape)."""

    sigma: Array
    to_data: Array
    to_constraint: Array
    to_both: Array
    ends: Tensor

    def factors(self) -> Array:
        """What each step keeps of the distance to the intersection: the median over runs,
        (steps,)."""
        before, after = self.to_both[:-1], self.to_both[1:]
        return np.asarray(np.median(after / np.maximum(before, 1e-300), axis=1))

    def record(self) -> list[dict[str, Any]]:
        """JSON-safe rows, one a level: σ̃ and the medians."""
        return [
            {
                "sigma": float(self.sigma[i]),
                "to_data": float(np.median(self.to_data[i])),
                "to_constraint": float(np.median(self.to_constraint[i])),
                "to_both": float(np.median(self.to_both[i])),
            }
            for i in range(len(self.sigma))
        ]


def levels(steps: int, start: float, last: float) -> Grid:
    """``steps`` equal steps of log σ̃ from ``start`` to ``last``, variance exploding."""
    return parse_grid(f"logsnr(start={start!r}, last={last!r})", VE(), steps)


def constrained_descent(
    data: Set,
    allowed: Set,
    shared: Distance,
    grid: Grid,
    *,
    recipe: Recipe | str = "ddim",
    n: int = 64,
    seed: int = 0,
) -> Descent:
    """``n`` runs of ``recipe`` over the exact denoiser of ``data`` with the estimate projected on
    ``allowed``; ``shared`` is the distance to the intersection of the two.

    Raises:
        UserError: sets in different spaces.
    """
    if tuple(data.shape) != tuple(allowed.shape):
        raise UserError(
            f"The data lie among points of shape {tuple(data.shape)}, the constraint among points"
            f" of {tuple(allowed.shape)}; take both from one space."
        )
    chain = parse(recipe) if isinstance(recipe, str) else recipe
    states: list[Tensor] = []
    made = sample(
        SetDenoiser(data),
        chain | Project(SetConstraint(allowed)),
        grid=grid,
        n=n,
        seed=seed,
        batch_size=n,
        micro_batch=n,
        dtype=torch.float64,
        callback=lambda at: states.append(_unscaled(at)),
        progress=False,
    ).images
    return _measured([*states, made / grid.points[-1].alpha], grid.ratio, data, allowed, shared)


def alternating_projections(
    data: Set, allowed: Set, shared: Distance, grid: Grid, *, n: int = 64, seed: int = 0
) -> Descent:
    """From the same starts, z ← P_C P_K z as often as ``grid`` has steps (von Neumann 1933): no
    noise level, no averaging."""
    start = initial_state(noise_for(seed, range(n), data.shape).double(), grid)
    states = [start / grid.points[0].alpha]
    for _ in range(len(grid.ratio) - 1):
        states.append(allowed.project(data.project(states[-1]).nearest).nearest)
    return _measured(states, grid.ratio, data, allowed, shared)


def _unscaled(at: Progress) -> Tensor:
    return at.x / at.at.alpha


def _measured(
    states: Sequence[Tensor], sigma: Array, data: Set, allowed: Set, shared: Distance
) -> Descent:
    def along(of: Distance) -> Array:
        return np.stack([of(z).cpu().numpy() for z in states])

    return Descent(
        sigma,
        along(lambda z: data.project(z).distance),
        along(lambda z: allowed.project(z).distance),
        along(shared),
        states[-1],
    )


def predicted(sigma: Array, cosine: float, *, ancestral: bool = False) -> Array:
    """What each step keeps of the distance to the intersection near it, (steps,): 1 − β sin²θ.

    β = 1 − σ̃_s/σ̃ for DDIM; ``ancestral`` steps (η = 1) go β = 1 − (σ̃_s/σ̃)² of the way to the
    estimate, nearly twice as far, but keep the noise of their level: at least σ̃_s/σ̃.
    """
    ratio = sigma[1:] / sigma[:-1]
    beta = 1 - ratio**2 if ancestral else 1 - ratio
    return np.maximum(ratio, 1 - beta * (1 - cosine**2))
