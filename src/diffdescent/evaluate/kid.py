"""Kernel Inception Distance (Bińkowski et al. 2018): the squared maximum mean discrepancy,
unbiased.

    MMD² = Σ_{i≠j} k(x_i, x_j)/(n(n−1)) + Σ_{i≠j} k(y_i, y_j)/(m(m−1)) − 2·Σ_{i,j} k(x_i, y_j)/(nm),
    k(x, y) = (xᵀy/d + 1)³

Published values are means over random subsets of 1000; the estimator over all pairs, which is
computed here, is what that mean tends to with more subsets, without their noise. It may be negative
where the sets are alike.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BLOCK = 1024


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x.double() @ y.double().T).div_(x.shape[1]).add_(1).pow_(3)


def _own(x: Tensor) -> Tensor:
    """k(x_i, x_i), (n,)."""
    return (x.double().square().sum(1) / x.shape[1] + 1) ** 3


def mean_of_pairs(x: Tensor) -> float:
    """The mean of k over the pairs of different rows of ``x`` (n, d), n at least 2."""
    total = (
        torch.stack([_kernel(block, x).sum() for block in torch.split(x, _BLOCK)]).sum()
        - _own(x).sum()
    )
    return float(total) / (len(x) * (len(x) - 1))


def kid(x: Tensor, y: Tensor, *, pairs_y: float | None = None) -> float:
    """MMD² between ``x`` (n, d) and ``y`` (m, d); ``pairs_y`` is ``mean_of_pairs(y)`` where it is
    known."""
    return float(_estimates(x, y, torch.ones(1, len(x), dtype=torch.bool), pairs_y)[0])


def over_halves(x: Tensor, y: Tensor, masks: Tensor, *, pairs_y: float | None = None) -> Tensor:
    """MMD² of each half of ``x`` against all of ``y``: bool (r, n) → (r,), in one pass over the
    kernel's blocks."""
    return _estimates(x, y, masks, pairs_y)


def _estimates(x: Tensor, y: Tensor, masks: Tensor, pairs_y: float | None) -> Tensor:
    weights = masks.double().T  # (n, r)
    count = weights.sum(0)
    inside = torch.zeros(weights.shape[1], dtype=torch.float64)
    across = torch.empty(len(x), dtype=torch.float64)
    for first in range(0, len(x), _BLOCK):
        rows = slice(first, first + _BLOCK)
        inside += (weights[rows] * (_kernel(x[rows], x) @ weights)).sum(0)
        across[rows] = torch.stack(
            [_kernel(x[rows], part).sum(1) for part in torch.split(y, 4 * _BLOCK)]
        ).sum(0)
    inside -= _own(x) @ weights
    known = mean_of_pairs(y) if pairs_y is None else pairs_y
    return inside / (count * (count - 1)) + known - 2 * (across @ weights) / (count * len(y))
