"""Linear combinations of tensors, in as few passes over memory as eager PyTorch allows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_BLOCK = 1 << 16
"""Elements of a block: 256 KiB in float32, so that all operands of a block stay in a core's cache."""


def combine(terms: Sequence[tuple[float, Tensor]]) -> Tensor:
    """Σ c·x over ``(c, x)`` pairs of tensors of one shape and dtype, in that dtype; there is at least one pair.

    Large tensors on the CPU are combined block by block: the passes after the first then run in cache. Every element
    sees the same operations in the same order either way, so blocking does not change a bit.
    """
    coefficient, first = terms[0]
    if first.numel() < 4 * _BLOCK or first.device.type != "cpu":
        out = torch.mul(first, coefficient)
        for c, x in terms[1:]:
            out.add_(x, alpha=c)
        return out
    out = torch.empty_like(first, memory_format=torch.contiguous_format)
    target = out.view(-1)
    flat = [x.reshape(-1) for _, x in terms]
    for begin in range(0, target.numel(), _BLOCK):
        block = target[begin : begin + _BLOCK]
        torch.mul(flat[0][begin : begin + _BLOCK], coefficient, out=block)
        for (c, _), x in zip(terms[1:], flat[1:], strict=True):
            block.add_(x[begin : begin + _BLOCK], alpha=c)
    return out
