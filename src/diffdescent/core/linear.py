"""Linear combinations of tensors."""

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
