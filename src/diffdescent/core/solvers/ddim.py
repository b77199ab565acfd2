"""First-order steps: DDIM(η), DDPM and the stochastic μ-family. Euler in σ̃ (or in flow time) is
DDIM itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from diffdescent.core.grid import Grid
from diffdescent.core.options import In, Options
from diffdescent.core.plan import Plan
from diffdescent.core.process import Point

from .base import Variable, register
from .fresh_noise import forward_sigma, noisy_plan, noisy_row, posterior_sigma, require_descending


@register("ddim")
@dataclass(frozen=True)
class DDIM(Options):
    """DDIM(η): x_s = α_s x0 + √(σ_s² − s²) ε + s z with s = η·(posterior σ) (Song et al. 2021, eqs.
    12 and 16).

    ``eta`` is η: 0 is Euler in σ̃, 1 is ancestral (k-diffusion's ``euler_ancestral``). ``fresh`` is
    the least share of the next level's noise that is drawn anew, s² ≥ fresh·σ_s², however short the
    step: what restoration methods do (Kawar et al. 2022, DDRM; Zhu et al. 2023, DiffPIR, their ζ).
    With it the order is lost: more steps draw more noise.

    Raises:
        UserError: a reversed grid, where noise is drawn.
    """

    eta: Annotated[float, In(0, 1, hint="0 is deterministic, 1 is ancestral")] = 0.0
    fresh: Annotated[float, In(0, 1, hint="0 leaves it to eta, 1 draws all of it")] = 0.0
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"eta": 0.5}, {"eta": 1.0})
    variable: ClassVar[Variable] = "sigma"
    order: ClassVar[int] = 1
    cold_order: ClassVar[int] = 1

    @property
    def stochastic(self) -> bool:
        return self.eta > 0 or self.fresh > 0

    def plan(self, grid: Grid) -> Plan:
        options = {"eta": self.eta, "fresh": self.fresh}
        shown = ", ".join(f"{name}={value:g}" for name, value in options.items() if value)
        name = f"ddim({shown})" if shown else "ddim"
        if self.stochastic:
            require_descending(grid, name)

        def rule(src: Point, dst: Point) -> tuple[float, float]:
            s = self.eta * posterior_sigma(src, dst) if self.eta else 0.0
            s = max(s, math.sqrt(self.fresh) * dst.sigma)
            return (math.sqrt(max(dst.sigma**2 - s**2, 0.0)) if s else dst.sigma), s

        return noisy_plan(grid, name, rule)


@register("ddpm")
@dataclass(frozen=True)
class DDPM(Options):
    """Ancestral sampling: the mean of q(x_s | x_t, x0) plus noise (Ho et al. 2020, algorithm 2).

    ``variance``: ``"small"`` β̃ (which keeps the marginal), ``"large"`` β, with β̃ of the step
    before last at the last noisy level (guided-diffusion's FIXED_LARGE), or ``"learned"``, between
    the two by the network's own output. A step that ends at σ = 0 or at the grid's end with
    ``final_noise=False`` adds none.

    Raises:
        UserError: a reversed grid.
    """

    variance: Literal["small", "large", "learned"] = "small"
    final_noise: bool = True
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"variance": "large"},
        {"final_noise": False},
    )
    variable: ClassVar[Variable] = "sigma"
    stochastic: ClassVar[bool] = True
    order: ClassVar[int] = 1
    cold_order: ClassVar[int] = 1

    @property
    def keeps_variance(self) -> bool:
        """β̃ is the variance of q(x_s | x_t, x0); β adds more, and a quiet end takes some away."""
        return self.variance == "small" and self.final_noise

    def plan(self, grid: Grid) -> Plan:
        require_descending(grid, "ddpm")
        rows = []
        points = grid.points
        for i, (src, dst) in enumerate(pairwise(points)):
            small, large = posterior_sigma(src, dst), forward_sigma(src, dst)
            kept = math.sqrt(max(dst.sigma**2 - small**2, 0.0))
            quiet = dst.sigma == 0 or (i == grid.steps - 1 and not self.final_noise)
            if dst.sigma == 0:
                large = posterior_sigma(points[i - 1], src) if i else 0.0
            noise, log_var = (large if self.variance == "large" else small), None
            if self.variance == "learned" and not quiet:
                noise, log_var = 0.0, (2 * math.log(small), 2 * math.log(large))
            rows.append(
                noisy_row(
                    i, src, dst, kept, 0.0 if quiet else noise, log_var, noise if quiet else None
                )
            )
        return Plan(grid, tuple(rows), name=f"ddpm(variance={self.variance})")


@register("mu")
@dataclass(frozen=True)
class StochasticMu(Options):
    """The stochastic family of the gradient-estimation paper (arXiv 2306.04848, appendix), in σ̃:

    σ' = (σ̃_s/σ̃_t^μ)^{1/(1−μ)}, x̃ ← x̃ − (σ̃_t − σ')ε + √(σ̃_s² − σ'²) z. μ = 0 is DDIM, μ = ½ is
    DDPM.

    Args:
        mu: 0 is DDIM, ½ is DDPM.
    """

    mu: Annotated[float, In(0, 1, "[)", "0 is DDIM, 0.5 is DDPM")] = 0.5
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"mu": 0.25}, {"mu": 0.0})
    variable: ClassVar[Variable] = "sigma"
    order: ClassVar[int] = 1
    cold_order: ClassVar[int] = 1

    @property
    def stochastic(self) -> bool:
        return self.mu > 0

    def plan(self, grid: Grid) -> Plan:
        name = f"mu({self.mu:g})"
        if self.stochastic:
            require_descending(grid, name)

        def rule(src: Point, dst: Point) -> tuple[float, float]:
            if not self.mu:
                return dst.sigma, 0.0
            if math.isinf(src.ratio):
                return 0.0, dst.sigma  # σ' → 0: everything is drawn anew
            kept = (dst.ratio / src.ratio**self.mu) ** (1 / (1 - self.mu))
            return dst.alpha * kept, dst.alpha * math.sqrt(max(dst.ratio**2 - kept**2, 0.0))

        return noisy_plan(grid, name, rule)
