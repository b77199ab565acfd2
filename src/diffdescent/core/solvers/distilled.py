"""Samplers of distilled networks, whose answer is the end of the flow and not a mean: LCM and
TCD."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from diffdescent.core.grid import Grid
from diffdescent.core.options import In, Options
from diffdescent.core.plan import Plan
from diffdescent.core.process import Point

from .base import Variable, register
from .fresh_noise import noisy_plan, require_descending


@register("lcm")
@dataclass(frozen=True)
class LCM(Options):
    """Multistep consistency sampling: x_s = α_s x0 + σ_s z, all noise drawn anew (Song et al. 2023,
    arXiv 2303.01469, algorithm 1; Luo et al. 2023, arXiv 2310.04378).

    For networks distilled into consistency models, in 1 to 8 steps. Over such a network every step
    gives the data's own distribution; over another one it forgets what it found, and no number of
    steps converges (order 0). diffusers' ``LCMScheduler`` also mixes x into x0 by c_skip =
    σ_d²/(s² + σ_d²) with s = 10 t and σ_d = 0.5, below 10⁻⁵ for t ≥ 19; the network is taken at its
    word here, as ComfyUI does.
    """

    name: ClassVar[str]
    variable: ClassVar[Variable] = "sigma"
    stochastic: ClassVar[bool] = True
    order: ClassVar[int] = 0

    def plan(self, grid: Grid) -> Plan:
        require_descending(grid, "lcm")
        return noisy_plan(grid, "lcm", lambda src, dst: (0.0, dst.sigma))


@register("tcd")
@dataclass(frozen=True)
class TCD(Options):
    """Trajectory consistency sampling (Zheng et al. 2024, arXiv 2402.19159, algorithm 4): the DDIM
    step to the time s = (1 − γ)·t_next, then noise up to t_next,

        x = α_next (x0 + σ̃_s ε) + α_next √(σ̃_next² − σ̃_s²) z.

    ``gamma``: 0 is DDIM, 1 draws all noise anew but that of the lowest level; 0.3 is the paper's.
    Where the network knows whole times alone, s is the next one below. For trajectory-consistency
    networks; over another one a step of γ > 0 does not converge (order 0).
    """

    gamma: Annotated[float, In(0, 1, hint="0 is deterministic, 0.3 the paper's")] = 0.3
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"gamma": 0.0}, {"gamma": 1.0})
    variable: ClassVar[Variable] = "sigma"

    @property
    def stochastic(self) -> bool:
        return self.gamma > 0

    @property
    def order(self) -> int:
        return 0 if self.stochastic else 1

    def plan(self, grid: Grid) -> Plan:
        process, name = grid.process, f"tcd({self.gamma:g})"
        if self.stochastic:
            require_descending(grid, name)

        def rule(src: Point, dst: Point) -> tuple[float, float]:
            if not self.gamma or dst.sigma == 0:
                return dst.sigma, 0.0
            time = max((1 - self.gamma) * dst.t, process.t_min)
            kept = min(float(process.ratio(process.snapped(time, "cleaner"))), dst.ratio)
            return dst.alpha * kept, dst.alpha * math.sqrt(dst.ratio**2 - kept**2)

        return noisy_plan(grid, name, rule)
