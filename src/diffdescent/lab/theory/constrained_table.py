"""Constrained sampling against alternating projections, measured on the cases of
:mod:`.constrained_cases`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from diffdescent.base.statistics import Share, wilson
from diffdescent.core.process import Array

from .constrained import (
    Descent,
    alternating_projections,
    constrained_descent,
    levels,
    predicted,
)
from .constrained_cases import Case, cut_sphere, some_points, subspaces
from .sets import Set, Subspace

ANGLES = (60.0, 30.0, 20.0, 10.0)
HEIGHTS = (0.3, 0.8)
SAMPLERS = ("ddim", "ddim(eta=1)")
START = 40.0
NEAR = 0.1
"""Runs that end so near to a point of both sets count as having reached it."""


@dataclass(frozen=True, eq=False)
class RateRow:
    """One sampler on one case whose angle is known.

    ``kept``: what the last step keeps of the distance to the intersection, the median over runs,
    and ``predicted`` that of the theory; ``left``: what all steps keep, and ``power`` the limit of
    many small steps, (σ̃_end/σ̃_start)^{sin²θ} or its square; ``projections`` and ``von_neumann``:
    what a round of alternating projections keeps, and cos²θ. ``to_both`` are the medians at every
    level, ``course`` what the theory says before the last one.
    """

    case: str
    sampler: str
    kept: float
    predicted: float
    left: float
    power: float
    projections: float
    von_neumann: float
    sigma: Array
    to_both: Array
    course: Array

    def record(self) -> dict[str, Any]:
        """JSON-safe."""
        return {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class ReachRow:
    """How many runs over points end in one that keeps the constraint; ``alone``: without it."""

    case: str
    sampler: str
    reached: Share
    alone: Share

    def record(self) -> dict[str, Any]:
        """JSON-safe; a share is (value, low, high)."""
        found = (("reached", self.reached), ("alone", self.alone))
        shares = {name: (s.value, s.low, s.high) for name, s in found}
        return {"case": self.case, "sampler": self.sampler, **shares}


def rates(steps: int = 40, n: int = 64, seed: int = 0) -> Iterator[RateRow]:
    """Subspaces at :data:`ANGLES` and spheres cut at :data:`HEIGHTS`, from σ̃ = 40 to 10⁻⁶ where
    the limit is reached, in ``steps`` equal steps of log σ̃."""
    for case in (*map(subspaces, ANGLES), *map(cut_sphere, HEIGHTS)):
        grid = levels(steps, START, 1e-6)
        classical = alternating_projections(
            case.data, case.allowed, case.shared, levels(12, START, 1e-6), n=n, seed=seed
        )
        for sampler in SAMPLERS:
            found = constrained_descent(
                case.data, case.allowed, case.shared, grid, recipe=sampler, n=n, seed=seed
            )
            yield _rate_row(case, sampler, found, classical)


def _rate_row(case: Case, sampler: str, found: Descent, classical: Descent) -> RateRow:
    ancestral = "eta=1" in sampler
    factors = predicted(found.sigma, case.cosine, ancestral=ancestral)
    to_both = np.median(found.to_both, axis=1)
    power = (1 + ancestral) * (1 - case.cosine**2)
    return RateRow(
        case.name,
        sampler,
        float(found.factors()[-1]),
        float(factors[-1]),
        float(to_both[-1] / to_both[0]),
        float((found.sigma[-1] / found.sigma[0]) ** power),
        float(classical.factors()[-1]),
        case.cosine**2,
        found.sigma,
        to_both,
        to_both[-1] / np.append(np.cumprod(factors[::-1])[::-1], 1.0),
    )


def reached(steps: int = 40, n: int = 256, seed: int = 0) -> Iterator[ReachRow]:
    """Points, of which some keep the constraint: constrained samplers, and alternating projections
    from the same starts."""
    case, grid = some_points(), levels(steps, START, 0.01)
    whole = _everything(case.allowed)
    of_all = partial(_share, n=n)
    for sampler in SAMPLERS:
        run = partial(
            constrained_descent, case.data, shared=case.shared, grid=grid, recipe=sampler, n=n,
            seed=seed,
        )  # fmt: skip
        yield ReachRow(
            case.name, sampler, of_all(run(allowed=case.allowed)), of_all(run(allowed=whole))
        )
    run_plain = partial(
        alternating_projections, case.data, shared=case.shared, grid=grid, n=n, seed=seed
    )
    yield ReachRow(
        case.name,
        "alternating projections",
        of_all(run_plain(allowed=case.allowed)),
        of_all(run_plain(allowed=whole)),
    )


def _share(found: Descent, n: int) -> Share:
    return wilson(int((found.to_both[-1] < NEAR).sum()), n)


def _everything(like: Set) -> Subspace:
    """The whole space, a constraint that allows everything."""
    size = int(np.prod(like.shape))
    return Subspace(torch.zeros(size, dtype=torch.float64), torch.eye(size, dtype=torch.float64))
