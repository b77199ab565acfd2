"""Linear combinations of tensors, and matrices along their axes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def combine(terms: Sequence[tuple[float, Tensor]]) -> Tensor:
    """Σ c·x over ``(c, x)`` pairs of tensors of one shape and dtype, in that dtype; there is at
    least one pair.

    One new tensor, one pass for each term. Working block by block so that later passes hit the
    cache was measured and gained nothing: the result of one pass is still in the last-level cache
    at the next, or the tensor is too large for the blocks' dispatch to pay.
    """
    coefficient, first = terms[0]
    if coefficient == 1 and len(terms) > 1:  # a flow's Euler step: the same numbers in one pass
        (c, x), *rest = terms[1:]
        out = torch.add(first, x, alpha=c)
    else:
        out, rest = torch.mul(first, coefficient), list(terms[1:])
    for c, x in rest:
        out.add_(x, alpha=c)
    return out


def sandwich(left: Tensor, x: Tensor, right: Tensor) -> Tensor:
    """L·X·R of every image and channel X by itself: (p, H), (…, H, W), (W, q) → (…, p, q).

    One small product for each of them, all alike, so that no number depends on the batch.
    """
    flat = x.reshape(-1, *x.shape[-2:])
    rows = torch.bmm(left.expand(len(flat), *left.shape), flat)
    made = torch.bmm(rows, right.expand(len(flat), *right.shape))
    return made.reshape(*x.shape[:-2], *made.shape[-2:])


def sum_of(x: Tensor) -> Tensor:
    """The sum over each sample, (B, 1, …)."""
    return sum_from(x, 1)


def sum_from(x: Tensor, first: int) -> Tensor:
    """The sum over the dimensions from ``first`` on (the last one always), which stay with length
    one."""
    # Rows first: a sum of few long rows is split among threads, and its last bits then depend on
    # the batch.
    rows = x.sum(-1, keepdim=True)
    within = tuple(range(first, x.ndim - 1))
    return (
        rows.sum(within, keepdim=True) if within else rows
    )  # torch takes no dimension for all of them


def inner(a: Tensor, b: Tensor) -> Tensor:
    """⟨a, b⟩ of each sample of two (B, …) tensors, of shape (B, 1, …)."""
    return sum_of(a * b)
