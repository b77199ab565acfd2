"""A step read as the straight line of one estimate: which x0 and ε it amounts to."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.transforms.base import Commit


class Line(NamedTuple):
    """The estimates of a step, and its unit noise (None for a deterministic one)."""

    x0: Tensor
    eps: Tensor
    z: Tensor | None


def read(commit: Commit, who: str) -> Line:
    """x0 and ε with base = α_t x0 + σ_t ε and proposal = α_s x0 + κ ε + s z, κ² = σ_s² − s².

    For DDIM at any share of fresh noise they are the network's own; for another solver those of
    the DDIM step that goes from the same state to the same proposal. Raises :class:`UserError`
    where the noise's size is not one number, and for a step that does not change the level.
    """
    src, dst, mean, z, kept = commit.src, commit.dst, commit.proposal, None, commit.dst.sigma
    if commit.noise is not None:
        if not commit.spread or commit.spread > dst.sigma * (1 + 1e-9):
            raise UserError(
                f"{who} must know the size of a step's noise, one number of at most its level, and"
                " this sampler has another; use ddim(fresh=1), ddpm or a deterministic sampler."
            )
        mean, z = commit.proposal - commit.noise, commit.noise / commit.spread
        kept = math.sqrt(max(dst.sigma**2 - commit.spread**2, 0.0))
    det = src.alpha * kept - src.sigma * dst.alpha
    if not det:
        raise UserError(
            f"{who} reads the estimate off each step, and this sampler has one that stays at its"
            " noise level; use ddim."
        )
    x0 = (commit.base * kept - mean * src.sigma) / det
    eps = (mean * src.alpha - commit.base * dst.alpha) / det
    return Line(x0, eps, z)
