"""Conjugate gradients for operators without singular values (Hestenes and Stiefel 1952).

Each runs a fixed number of steps, so that nothing waits for the device; a sample that has converged
stays where it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffdescent.core.linear import inner

Map = Callable[[Tensor], Tensor]
STEPS = 100
"""Steps of an iteration by default."""


def conjugate_gradients(matrix: Map, rhs: Tensor, steps: int = STEPS) -> Tensor:
    """M⁻¹ rhs for a symmetric positive definite ``matrix``, from zero, (B, …)."""
    x, r, p = torch.zeros_like(rhs), rhs, rhs
    rr = inner(r, r)
    floor = _floor(rr)
    for _ in range(steps):
        mp = matrix(p)
        step = _ratio(rr, inner(p, mp), rr > floor)
        x, r = x + step * p, r - step * mp
        after = inner(r, r)
        p = r + _ratio(after, rr, rr > floor) * p
        rr = after
    return x


def least_squares(forward: Map, adjoint: Map, y: Tensor, steps: int = STEPS) -> Tensor:
    """A⁺ y, by conjugate gradients on AᵀA x = Aᵀy from zero (CGLS: Björck 1996, section 7.4), which
    reaches the shortest of the least-squares solutions."""
    r, s = y, adjoint(y)
    x, p = torch.zeros_like(s), s
    ss = inner(s, s)
    floor = _floor(ss)
    for _ in range(steps):
        q = forward(p)
        step = _ratio(ss, inner(q, q), ss > floor)
        x, r = x + step * p, r - step * q
        s = adjoint(r)
        after = inner(s, s)
        p = s + _ratio(after, ss, ss > floor) * p
        ss = after
    return x


def _floor(first: Tensor) -> Tensor:
    """The squared residual under which a sample has converged to the precision of its numbers."""
    return first * torch.finfo(first.dtype).eps ** 2


def _ratio(a: Tensor, b: Tensor, where: Tensor) -> Tensor:
    """a/b, and 0 where there is nothing left to do, with room for (B, …) to broadcast."""
    wanted = where & (b > 0)
    return torch.where(wanted, a / b.where(wanted, 1.0), 0.0)
