"""DEIS, the exponential integrators of Zhang and Chen (ICLR 2023, arXiv 2204.13902).

Multistep: ε is interpolated by its Lagrange polynomial in some variable u and integrated over σ̃
(eq. 14):

    w_j = ∫ ℓ_j(u(σ̃)) dσ̃.

tAB takes u = time, ρAB u = σ̃ (there called ρ), log-ρ AB u = log σ̃ (what diffusers ships as DEIS).
The paper's ρRK is in :mod:`.runge_kutta`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid
from diffdescent.core.options import In, Options
from diffdescent.core.plan import Plan
from diffdescent.core.process import Point, Process

from .base import Variable, register
from .exponential import LowerOrderFinal, step_orders
from .quadrature import Rule, gauss, lagrange, left_sum
from .sigma_space import finite, multistep_rows

Variant = Literal["tab", "rhoab", "logrho"]


def _time_rule(process: Process, src: Point, dst: Point, count: int) -> Rule:
    """Points in time and weights of ∫ f(t) dσ̃: by the left sum of σ̃'(t) over t, or (``count`` =
    0) to all digits.

    The latter is Gauss–Legendre in v = asinh σ̃, in which t is smooth from σ̃ = 0 to very large σ̃;
    piece by piece where the process has kinks (a discrete VP one, at its integer indices).
    """
    if count:
        rule = left_sum(src.t, dst.t, count)
        return Rule(rule.points, rule.weights * process.ratio_slope(rule.points))
    ends = [src.ratio, dst.ratio]
    points = 48
    if process.kinks is not None:
        low, high = sorted((src.t, dst.t))
        inside = process.kinks[(process.kinks > low) & (process.kinks < high)]
        kinks = process.ratio(inside).tolist()
        ends = [ends[0], *sorted(kinks, reverse=ends[0] > ends[1]), ends[1]]
        points = 8 if len(ends) < 20 else 4
    rule = gauss(np.arcsinh(ends), points)
    return Rule(process.t_of_ratio(np.sinh(rule.points)), rule.weights * np.cosh(rule.points))


def _rho_rule(process: Process, src: Point, dst: Point, count: int) -> Rule:
    return left_sum(src.ratio, dst.ratio, count) if count else gauss((src.ratio, dst.ratio), 2)


def _log_rule(process: Process, src: Point, dst: Point, count: int) -> Rule:
    a, b = math.log(src.ratio), math.log(dst.ratio)
    rule = left_sum(a, b, count) if count else gauss((a, b), 32)
    return Rule(rule.points, rule.weights * np.exp(rule.points))


@dataclass(frozen=True)
class _Interpolation:
    """The variable u of a variant: a point's place in it, and a rule of ∫ f(u) dσ̃ with points in
    u."""

    variable: Variable
    place: Callable[[Point], float]
    rule: Callable[[Process, Point, Point, int], Rule]


_VARIANTS: dict[Variant, _Interpolation] = {
    "tab": _Interpolation("time", lambda p: p.t, _time_rule),
    "rhoab": _Interpolation("sigma", lambda p: p.ratio, _rho_rule),
    "logrho": _Interpolation("lambda", lambda p: -p.lam, _log_rule),
}


@register("deis")
@dataclass(frozen=True)
class DEIS(Options):
    """Exponential-integrator multistep of order 1–4 with the start of orders 1, 2, …

    ``variant``: the variable of the interpolation, ``"tab"`` (time), ``"rhoab"`` (σ̃; the same as
    ``ab``) or ``"logrho"`` (log σ̃; diffusers). Where that variable is infinite, at σ = 0 for log
    σ̃ and at α = 0, steps are of first order. ``points``: 0 integrates to all digits; n takes the
    left Riemann sum with n points in the variable, as the released code does with 10000.
    ``lower_order_final``: whether the last steps fall to lower orders, see
    :data:`~.exponential.LowerOrderFinal`; ``never`` leaves even a step to σ = 0 at full order where
    the variable is finite there.

    Raises:
        UserError: unknown names, an order outside 1–4 or a negative number of points.
    """

    order: Annotated[int, In(1, 4)] = 3
    variant: Variant = "tab"
    points: Annotated[int, In(0, hint="0 is exact")] = 0
    lower_order_final: LowerOrderFinal = "never"
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"order": 2},
        {"order": 4},
        {"variant": "rhoab"},
        {"variant": "logrho"},
        {"variant": "logrho", "order": 2},
        {"variant": "logrho", "order": 2, "lower_order_final": "diffusers"},
    )
    stochastic: ClassVar[bool] = False

    @property
    def variable(self) -> Variable:
        return _VARIANTS[self.variant].variable

    @property
    def cold_order(self) -> int:
        return min(self.order, 2)

    def plan(self, grid: Grid) -> Plan:
        interpolation = _VARIANTS[self.variant]

        def weights(nodes: Sequence[Point], dst: Point) -> Sequence[float]:
            places = [interpolation.place(p) for p in nodes]
            if len(set(places)) < len(places):
                raise UserError(
                    "deis interpolates in time, and two levels of the grid have the time"
                    f" {places[0]:g} (they lie outside the process's range); give variant=rhoab or"
                    " start the grid inside the range."
                )
            rule = interpolation.rule(grid.process, nodes[0], dst, self.points)
            basis = lagrange(places, rule.points)
            return [float(w) for w in basis @ rule.weights]

        def usable(point: Point) -> bool:
            return finite(point) and math.isfinite(interpolation.place(point))

        final = self.lower_order_final
        caps = step_orders(grid, self.order, final) if final != "never" else ()
        rows = multistep_rows(grid, self.order, weights, usable=usable, caps=caps)
        return Plan(grid, rows, name=f"deis(variant={self.variant}, order={self.order})")
