"""Analytic-DPM: the reverse variance that is optimal for the data (Bao et al., ICLR 2022, arXiv
2201.06503)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid
from diffdescent.core.noise import normals
from diffdescent.core.options import In, Options
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Predictor
from diffdescent.core.process import Point, points

from .base import Variable, register
from .fresh_noise import noisy_plan, posterior_sigma


@dataclass(frozen=True)
class Gamma:
    """Γ(t) = E‖ε̂(x_t, t)‖²/d at times ``t`` (ascending), linear in between and constant outside.

    It says how much of the noise the network recognises: 1 where it sees all of it (so x0 is
    certain), less where the data hides it. Raises :class:`UserError` unless there are as many
    values as ascending times.
    """

    t: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("t", "values"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        ascending = all(b > a for a, b in zip(self.t[:-1], self.t[1:], strict=True))
        if not self.t or len(self.t) != len(self.values) or not ascending:
            raise UserError(
                f"Γ needs one value per ascending time, not {len(self.values)} for {len(self.t)}"
                " times."
            )

    @classmethod
    def of_indices(cls, values: Sequence[float]) -> Gamma:
        """Γ at the trained indices t = 0, 1, …, T − 1 of a discrete VP process."""
        return cls(tuple(range(len(values))), tuple(values))

    def __call__(self, t: float) -> float:
        return float(np.interp(t, self.t, self.values))


def estimate_gamma(
    predictor: Predictor,
    images: Tensor,
    times: Sequence[float],
    *,
    seed: int = 0,
    cond: Tensor | None = None,
) -> Gamma:
    """Γ from data (eq. 8): the mean of ‖ε̂(α x0 + σ z)‖²/d over ``images`` (B, …) in [−1, 1], at
    each of ``times``.

    One draw of z per image and time, keyed by (seed, image, time). Call it with a batch that fits
    the device; average several batches' values for a larger set.
    """
    index = torch.arange(len(images), device=images.device)
    values = []
    ordered = sorted(times)
    for i, point in enumerate(points(predictor.process, ordered)):
        z = normals(seed, index, images.shape[1:], i, dtype=images.dtype)
        x = images * point.alpha + z * point.sigma
        eps = predictor(x, point, cond).to("eps", x)
        values.append(eps.to(torch.float32).square().mean())
    return Gamma(tuple(ordered), tuple(torch.stack(values).tolist()))


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
    """Analytic-DDIM (η = 0) and Analytic-DDPM (η = 1): DDIM(η)'s mean with the optimal variance
    σ*².

    ``gamma`` is Γ, from :func:`estimate_gamma` or given; without it Γ is that of data N(0,
    ``data_std``² I), Γ_t = σ_t²/(α_t² data_std² + σ_t²). No noise is added at a step that ends at σ
    = 0. ``clip_last``: this many of the last noisy steps have their standard deviation limited to
    ``clip_pixel`` grey levels of 255 on average, σ ≤ clip_pixel·(2/255)·√(π/2) (appendix H.1 of the
    paper). The released code clamps x0 to [−1, 1] and keeps ε: put ``threshold(eps=keep)`` over it
    for that.

    Raises :class:`UserError` for options out of range and for a reversed grid.
    """

    eta: Annotated[float, In(0, 1, hint="0 is Analytic-DDIM, 1 Analytic-DDPM")] = 0.0
    gamma: Gamma | None = None
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

    def _gamma(self, src: Point) -> float:
        if self.gamma is not None:
            return self.gamma(src.t)
        return src.sigma**2 / (src.alpha**2 * self.data_std**2 + src.sigma**2)

    def plan(self, grid: Grid) -> Plan:
        if not grid.descending:
            raise UserError(
                "analytic adds noise at every step, so it cannot run a reversed grid; invert with"
                " ddim."
            )
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
