"""ER-SDE-Solver: the extended reverse-time SDE in σ̃ (Cui et al. 2023, arXiv 2309.06169)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import numpy as np

from diffdescent.core.grid import Grid
from diffdescent.core.options import In, Options
from diffdescent.core.plan import Output, Plan, Row
from diffdescent.core.process import Array, Point

from .base import Spacing, Variable, register
from .fresh_noise import noisy_row, require_descending
from .quadrature import gauss
from .sigma_space import finite


def scale(ratio: Array) -> Array:
    """φ(σ̃) = σ̃ (e^{σ̃^0.3} + 10), the paper's "ER SDE 5" and ComfyUI's default."""
    return np.asarray(ratio * (np.exp(ratio**0.3) + 10))


def _log_slope(ratio: Array) -> Array:
    """d log φ / d log σ̃."""
    power = ratio**0.3
    growth = np.exp(power)
    return np.asarray(1 + 0.3 * power * growth / (growth + 10))


def moments(src: float, dst: float, count: int) -> list[float]:
    """φ(σ̃_s) ∫ (φ'/φ²)(ρ) (ρ − σ̃_t)^k dρ from σ̃_s to σ̃_t, k = 0 … count − 1."""
    first = 1 - float(scale(np.float64(dst)) / scale(np.float64(src)))
    breaks = np.linspace(math.log(dst), math.log(src), 5)
    rule = gauss(breaks, 12)  # the integrand is smooth in log ρ
    rho = np.exp(rule.points)
    kernel = rule.weights * scale(np.float64(dst)) * _log_slope(rho) / scale(rho)
    return [first, *(float(kernel @ (rho - src) ** k) for k in range(1, count))]


@register("er_sde")
@dataclass(frozen=True)
class ERSDE(Options):
    """ER-SDE-Solver-p: with x̃ = x/α, r = φ(σ̃_s)/φ(σ̃_t) and the network's x0 a polynomial in σ̃
    through the last ``order`` evaluations,

        x̃_s = r x̃_t + φ(σ̃_s) ∫_{σ̃_s}^{σ̃_t} (φ'/φ²)(ρ) x0(ρ) dρ + √(σ̃_s² − r² σ̃_t²) z,

    φ(σ̃) = σ̃ (e^{σ̃^0.3} + 10). The integral is taken by quadrature; the public code takes a sum
    of 200 terms. ``released`` (order 3) leaves the second difference out of the first derivative,
    as the public code does, which makes it second order. A step that ends at σ = 0 is x0.

    Raises:
        UserError: a reversed grid.
    """

    order: Annotated[int, In(1, 3)] = 3
    released: bool = False
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"order": 1},
        {"order": 2},
        {"released": True},
    )
    variable: ClassVar[Variable] = "sigma"
    stochastic: ClassVar[bool] = True

    @property
    def cold_order(self) -> int:
        return self.order_on("uniform", cold=True)

    def order_on(self, spacing: Spacing, cold: bool = False) -> int:
        """As for the multistep SDE forms of DPM-Solver++: the extrapolation makes good, one step
        later, what a step's own noise changes, up to second order."""
        return min(self.order, 2)

    def plan(self, grid: Grid) -> Plan:
        require_descending(grid, "er_sde")
        rows, past = [], list[Point]()
        for i, (src, dst) in enumerate(pairwise(grid.points)):
            nodes = [p for p in past if finite(p)][: self.order - 1]
            past.insert(0, src)
            if not finite(src) or dst.sigma == 0:
                rows.append(noisy_row(i, src, dst, 0.0, dst.sigma))
                continue
            r = float(scale(np.float64(dst.ratio)) / scale(np.float64(src.ratio)))
            noise = dst.alpha * math.sqrt(max(dst.ratio**2 - (r * src.ratio) ** 2, 0.0))
            evals = [dst.alpha * w for w in self._weights(src, dst, nodes)]
            out = Output(dst, base=dst.alpha / src.alpha * r, evals=tuple(evals), noise=noise)
            known = len(nodes) + 1
            keep = tuple(range(min(known, self.order - 1))) if i < grid.steps - 1 else ()
            rows.append(Row(i, src, "x0", (out,), keep, order=known))
        return Plan(grid, tuple(rows), name=f"er_sde(order={self.order})")

    def _weights(self, src: Point, dst: Point, past: Sequence[Point]) -> list[float]:
        """Weights of x0 at the step's start and before: moments times divided differences."""
        m = moments(src.ratio, dst.ratio, len(past) + 1)
        weights = np.zeros(len(past) + 1)
        weights[0] = m[0]
        nodes = np.array([src.ratio, *(p.ratio for p in past)])
        if len(past) == 2 and not self.released:
            m[2] += m[1] * (nodes[0] - nodes[1])  # (ρ − σ̃_0)(ρ − σ̃_1) in place of (ρ − σ̃_0)²
        for k in range(1, len(nodes)):
            for j in range(k + 1):
                others = np.delete(nodes[: k + 1], j)
                weights[j] += m[k] / float(np.prod(nodes[j] - others))
        return [float(w) for w in weights]
