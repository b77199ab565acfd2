"""Positive-negative momentum (Jang et al., AAAI 2024, eqs. 7 and 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from torch import Tensor

from diffdescent.core.plan import Plan

from .base import Commit, Displacement, register
from .displacement import Beta, Coordinates, NoiseRule, displacement, norm


class _Parities(NamedTuple):
    same: Tensor | None
    other: Tensor | None
    weights: tuple[float, float]


@register("pnm")
@dataclass(frozen=True)
class PositiveNegative(Displacement):
    """Momentum with odd and even steps apart. These are the sums of the paper's eqs. 7–8, which are
    not the recursion with β < 0; b = |β|.

    Steps are counted from 0 as executed; the newest step's parity is the positive one:

        m_same  = (1+b) Σ b^{2k} r_{n−2k}
        m_other = (1+b) Σ b^{2k+1} r_{n−2k−1}
        m       = (1+b) m_same − b m_other

    For a constant input the gain is (1 + b − b²)/(1 − b) in the long run; ``normalise`` divides by
    the finite sum of the weights, which makes it 1. ``coords`` and ``noise`` as in
    :class:`~.momentum.Momentum`.

    Args:
        beta: β in (−1, 1), of which the absolute value b counts.
    """

    beta: Beta = -0.3
    normalise: bool = False
    coords: Coordinates = "vp"
    noise: NoiseRule = "inside"
    linear: ClassVar[bool] = True
    neutral: ClassVar = {"beta": 0.0}

    def init(self, plan: Plan) -> _Parities:
        return _Parities(None, None, (0.0, 0.0))

    def update(self, state: _Parities, commit: Commit) -> tuple[Tensor, _Parities]:
        b = abs(self.beta)
        r = displacement(commit, self.coords, self.noise)
        # One step later every older term has one more power of b, and the parities trade places.
        w_same, w_other = 1 + b + b * state.weights[1], b * state.weights[0]
        correction = r * ((1 + b) ** 2 - 1)
        same = r * (1 + b)
        if state.other is not None:
            same.add_(state.other, alpha=b)
            correction.add_(state.other, alpha=(1 + b) * b)
        other = None
        if state.same is not None:
            other = state.same * b
            correction.add_(other, alpha=-b)
        if self.normalise:
            # m/g − r = (m − r)/g + r(1/g − 1)
            gain = (1 + b) * w_same - b * w_other
            correction.mul_(1 / gain).add_(r, alpha=1 / gain - 1)
        x = commit.proposal.sub(correction, alpha=norm(commit.dst, self.coords))
        return x, _Parities(same, other, (w_same, w_other))
