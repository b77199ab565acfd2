"""Resolving conflicts between the gradients of one step (PixelAsParam, algorithm 2).

With g_cls, g_den, g_div the guidance, denoising and noise parts of a step (their common sign does
not matter) and proj(a on b) = ⟨a, b⟩/‖b‖²·b:

    if ⟨g_cls, g_den⟩ < 0:  ĝ_cls = g_cls − δ1 proj(g_cls on g_den)
                            ĝ_den = g_den − δ2 proj(g_den on g_cls)
    if ⟨g_cls, g_div⟩ < 0:  ĝ_cls −= δ3 proj(ĝ_cls on g_div)
                            ĝ_div = g_div − δ4 proj(g_div on g_cls)

What is computed is the part that is taken away, so that δ = 0 takes away exact zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from diffdescent.core.linear import sum_from
from diffdescent.core.options import Filled, Options, finite

from .base import StepParts

Pair = Literal["cls-den", "cls-div", "den-div"]
Scope = Literal["sample", "batch", "channel"]
Gate = Literal["raw", "pair"]
Partner = Literal["raw", "projected"]
ZeroNorm = Literal["own", "batch"]
Pairs = Annotated[tuple[Pair, ...], Filled("name at least one of cls-den, cls-div and den-div")]
Share = Annotated[float, finite("1 takes the whole projection away, 0 nothing")]


class Delta(NamedTuple):
    """How much of a projection is taken away: from g_cls for g_den, from g_den, from g_cls for
    g_div, from g_div."""

    cls_den: float = 1.0
    den: float = 1.0
    cls_div: float = 1.0
    div: float = 1.0


@dataclass(frozen=True)
class Conflicts(Options):
    """Which conflicts are resolved, and how one is found.

    ``pairs``: ``"cls-den"``, ``"cls-div"`` (the paper's two) and ``"den-div"`` (an ablation that it
    leaves undefined: last, each current vector loses ``den_div`` times its projection on the
    other's raw vector). ``scope``: one inner product for each sample, for the whole batch, or for
    each channel of each sample. ``gate``: whether a pair conflicts is read off the ``"raw"``
    vectors (the paper) or off the two ``"pair"`` members that are about to be projected (the
    released code). ``partner``: the noise part is projected on the ``"raw"`` g_cls, or on the one
    ``"projected"`` off g_den (one released class). ``zero``: a partner of norm zero disables its
    ``"own"`` projection alone, or, as released, that of the whole ``"batch"``.

    Raises:
        UserError: unknown options.
    """

    pairs: Pairs = ("cls-den", "cls-div")
    scope: Scope = "sample"
    gate: Gate = "raw"
    partner: Partner = "raw"
    zero: ZeroNorm = "own"
    den_div: Share = 1.0
    name: ClassVar[str] = "pxp"

    @property
    def whole_batch(self) -> bool:
        """Whether a sample's step depends on the others of its batch."""
        return "batch" in (self.scope, self.zero)

    def dot(self, a: Tensor, b: Tensor) -> Tensor:
        """⟨a, b⟩ in the scope, of shape (B, C, …) with ones for what was summed, so that it
        multiplies a vector."""
        return sum_from(a * b, {"batch": 0, "sample": 1, "channel": 2}[self.scope])

    def projection(self, inner: Tensor, partner: Tensor, raw: Tensor) -> Tensor:
        """proj(a on ``partner``) where a and it conflict, zero elsewhere; ``inner`` is ⟨a,
        partner⟩, ``raw`` the raw pair's inner product."""
        norm2 = self.dot(partner, partner)
        conflicting = (raw if self.gate == "raw" else inner) < 0
        # A square below the smallest normal number has lost its digits: the length of the
        # projection would be wrong.
        defined = (
            norm2 >= torch.finfo(norm2.dtype).tiny if self.zero == "own" else (norm2 > 0).all()
        )
        return torch.where(conflicting & defined, inner / norm2, 0.0) * partner

    def removed(self, parts: StepParts, delta: Delta) -> StepParts:
        """What is taken away from each part; ``None`` for the noise part where there is no
        noise."""
        cls, den, div = parts.guidance, parts.denoise, parts.diversity
        off_cls, off_den = torch.zeros_like(cls), torch.zeros_like(den)
        off_div = None if div is None else torch.zeros_like(div)
        if "cls-den" in self.pairs:
            inner = self.dot(cls, den)
            off_cls.add_(self.projection(inner, den, inner), alpha=delta.cls_den)
            off_den.add_(self.projection(inner, cls, inner), alpha=delta.den)
        if div is None or off_div is None:
            return StepParts(off_den, None, off_cls)
        if "cls-div" in self.pairs:
            raw = self.dot(cls, div)
            current = cls - off_cls
            now = self.dot(current, div)
            off_cls.add_(self.projection(now, div, raw), alpha=delta.cls_div)
            inner, partner = (raw, cls) if self.partner == "raw" else (now, current)
            off_div.add_(self.projection(inner, partner, raw), alpha=delta.div)
        if "den-div" in self.pairs:
            raw = self.dot(den, div)
            of_den, of_div = self.dot(den - off_den, div), self.dot(div - off_div, den)
            off_den.add_(self.projection(of_den, div, raw), alpha=self.den_div)
            off_div.add_(self.projection(of_div, den, raw), alpha=self.den_div)
        return StepParts(off_den, off_div, off_cls)

    def kept(self, parts: StepParts, delta: Delta) -> StepParts:
        """What is left of each part."""
        off = self.removed(parts, delta)
        diversity = (
            None
            if parts.diversity is None or off.diversity is None
            else parts.diversity - off.diversity
        )
        return StepParts(parts.denoise - off.denoise, diversity, parts.guidance - off.guidance)
