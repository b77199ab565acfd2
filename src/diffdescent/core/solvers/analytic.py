"""Analytic-DPM: the reverse variance that is optimal for the data (Bao et al., ICLR 2022, arXiv
2201.06503)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from diffdescent.core.grid import Grid
from diffdescent.core.options import In, Options
from diffdescent.core.plan import Plan
from diffdescent.core.process import Point

from .base import Variable, register
from .fresh_noise import noisy_plan, posterior_sigma, require_descending
from .gamma import Gamma, load_gamma


def optimal_variance(src: Point, dst: Point, gamma: float, kept_variance: float) -> float:
    """σ*² of the step t → s whose own noise has variance λ² = ``kept_variance`` (theorem 1 of the
    paper):

        λ² + (α_s − √(σ_s² − λ²) α_t/σ_t)²·clip((σ_t²/α_t²)(1 − Γ_t), 0, 1).

    The clipped factor is the mean variance of x0 given x_t; data in [−1, 1] bounds it by 1, which
    is also taken where α_t = 0.
    """
    uncertain = 1.0 if src.alpha == 0 else min(max(src.ratio**2 * (1 - gamma), 0.0), 1.0)
    slope = dst.alpha - math.sqrt(max(dst.sigma**2 - kept_variance, 0.0)) * src.alpha / src.sigma
    return kept_variance + slope**2 * uncertain


@register("analytic")
@dataclass(frozen=True)
class Analytic(Options):
    """Analytic-DDIM (``eta`` = η = 0) and Analytic-DDPM (η = 1): DDIM(η)'s mean with the optimal
    variance σ*².

    ``gamma`` is Γ: a :class:`Gamma`, or the file that ``diffdescent gamma`` wrote. Without it Γ is
    that of data N(0, ``data_std``² I), Γ_t = σ_t²/(α_t² data_std² + σ_t²). Images are far from such
    data: at little noise this Γ is much too small, and a step adds too much noise, so measure it.
    No noise is added at a step that ends at σ = 0. ``clip_last``: this many of the last noisy steps
    have their standard deviation limited to ``clip_pixel`` grey levels of 255 on average, σ ≤
    clip_pixel·(2/255)·√(π/2) (appendix H.1 of the paper). The released code clamps x0 to [−1, 1]
    and keeps ε: put ``threshold(eps=keep)`` over it for that.

    Raises:
        UserError: options out of range and a reversed grid.
    """

    eta: Annotated[float, In(0, 1, hint="0 is Analytic-DDIM, 1 Analytic-DDPM")] = 0.0
    gamma: Gamma | str | None = None
    data_std: Annotated[float, In(0, ends="()", hint="images in [−1, 1] have about 0.5")] = 0.5
    clip_last: Annotated[int, In(0, hint="0 limits no step")] = 0
    clip_pixel: Annotated[float, In(0, ends="()", hint="the paper has 2 and 1")] = 2.0
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"eta": 1.0}, {"clip_last": 1})
    variable: ClassVar[Variable] = "sigma"
    stochastic: ClassVar[bool] = True
    keeps_variance: ClassVar[bool] = False
    order: ClassVar[int] = 1
    cold_order: ClassVar[int] = 1
    curve: Gamma | None = field(default=None, init=False, repr=False, compare=False)

    def check_together(self) -> None:
        known = self.gamma
        curve = load_gamma(Path(known)) if isinstance(known, str) else known
        object.__setattr__(self, "curve", curve)

    @property
    def contents(self) -> Mapping[str, str]:
        if self.curve is None or not isinstance(self.gamma, str):
            return {}
        return {self.gamma: self.curve.digest}

    def _gamma(self, src: Point) -> float:
        if self.curve is not None:
            return self.curve(src.t)
        return src.sigma**2 / (src.alpha**2 * self.data_std**2 + src.sigma**2)

    def plan(self, grid: Grid) -> Plan:
        require_descending(grid, "analytic")
        noisy = [i for i, dst in enumerate(grid.points[1:]) if dst.sigma > 0]
        limited = (
            {grid.points[i + 1] for i in noisy[len(noisy) - self.clip_last :]}
            if self.clip_last
            else set()
        )
        limit = (self.clip_pixel * (2 / 255) * math.sqrt(math.pi / 2)) ** 2

        def rule(src: Point, dst: Point) -> tuple[float, float]:
            if dst.sigma == 0:
                return 0.0, 0.0
            own = (self.eta * posterior_sigma(src, dst)) ** 2
            variance = optimal_variance(src, dst, self._gamma(src), own)
            if dst in limited:
                variance = min(variance, limit)
            return math.sqrt(max(dst.sigma**2 - own, 0.0)), math.sqrt(variance)

        return noisy_plan(grid, f"analytic(eta={self.eta:g})", rule)
