"""Inpainting: after every step the known region is put back, at the noise level that the step has
reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from diffdescent.core.plan import Plan

from .base import Commit, Displacement


@dataclass(frozen=True, eq=False)
class Inpaint(Displacement):
    """x ← m·(α x_known + σ ε) + (1 − m)·x on every committed state.

    ``mask`` is 1 where ``known`` is to be kept, ``noise`` the unit noise ε of the known region; all
    broadcast to (B, C, H, W). Placed before momentum in a chain the blend is part of the
    displacement r (as in the authors' code), placed after it the region is exact at every step.
    """

    mask: Tensor
    known: Tensor
    noise: Tensor
    name: ClassVar[str] = "inpaint"
    linear: ClassVar[bool] = False

    def init(self, plan: Plan) -> None:
        return None

    def update(self, state: None, commit: Commit) -> tuple[Tensor, None]:
        level = (
            (self.known * commit.dst.alpha)
            .add_(self.noise, alpha=commit.dst.sigma)
            .to(commit.proposal.dtype)
        )
        return commit.proposal + self.mask.to(level.dtype) * (level - commit.proposal), None
