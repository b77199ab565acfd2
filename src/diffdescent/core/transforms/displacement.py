"""The displacement of a step, in the coordinates in which momentum adds displacements up."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor

from diffdescent.core.options import In
from diffdescent.core.process import Point

from .base import Commit

Coordinates = Literal["vp", "ve", "native"]
"""x/√(α² + σ²), x/α, or x itself."""

NoiseRule = Literal["inside", "outside"]
"""Whether a stochastic step's noise belongs to its displacement."""

Beta = Annotated[float, In(-1, 1, "()", "the paper's settings are −0.3, 0.2 and −0.8")]
"""The coefficient of momentum."""


def norm(point: Point, coords: Coordinates) -> float:
    """n by which a state is divided to be in the coordinates."""
    if coords == "vp":
        return point.norm
    return point.alpha if coords == "ve" else 1.0


def displacement(commit: Commit, coords: Coordinates, noise: NoiseRule) -> Tensor:
    """r = x_t/n_t − S/n_s, a new tensor."""
    n_t, n_s = norm(commit.src, coords), norm(commit.dst, coords)
    r = (commit.base * (1 / n_t)).sub_(commit.proposal, alpha=1 / n_s)
    if noise == "outside" and commit.noise is not None:
        r.add_(commit.noise, alpha=1 / n_s)
    return r
