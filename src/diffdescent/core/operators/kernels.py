"""One-dimensional kernels, and the matrix of a filter along one axis."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Boundary = Literal["reflect", "circular", "zero"]
"""What stands beyond the edge: the image mirrored at it (…b a | a b…), the other edge, or zero."""


def gaussian(sigma: float) -> Tensor:
    """exp(−j²/2σ²) at |j| ≤ ⌈4σ⌉, of sum 1, float64."""
    radius = math.ceil(4 * sigma)
    weights = torch.exp(
        -0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / sigma) ** 2
    )
    return weights / weights.sum()


def box(size: int) -> Tensor:
    """``size`` equal weights of sum 1, float64."""
    return torch.full((size,), 1 / size, dtype=torch.float64)


def cubic(x: Tensor) -> Tensor:
    """The piecewise cubic of Keys (1981) with a = −½, zero from |x| = 2 on."""
    x = x.abs()
    inside = (1.5 * x - 2.5) * x**2 + 1
    outside = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x <= 1, inside, torch.where(x < 2, outside, 0.0))


def filter_matrix(kernel: Tensor, n: int, boundary: Boundary) -> Tensor:
    """The (n, n) matrix of y_i = Σ_j k_j x_{i + j − r} for an odd ``kernel`` of radius r."""
    radius = len(kernel) // 2
    places = torch.arange(n)[:, None] + torch.arange(-radius, radius + 1)
    return gathered(places, kernel.expand(n, -1), n, boundary)


def gathered(places: Tensor, weights: Tensor, n: int, boundary: Boundary) -> Tensor:
    """The matrix (rows, n) with ``weights`` (rows, k) at ``places`` (rows, k) of a line that goes
    on beyond its n numbers as ``boundary`` says."""
    if boundary == "zero":
        weights = torch.where((places >= 0) & (places < n), weights, 0.0)
        places = places.clamp(0, n - 1)
    elif boundary == "circular":
        places = places % n
    else:
        folded = places % (2 * n)
        places = torch.where(folded < n, folded, 2 * n - 1 - folded)
    matrix = torch.zeros(len(places), n, dtype=torch.float64)
    return matrix.scatter_add_(1, places, weights)
