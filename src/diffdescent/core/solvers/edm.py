"""Euler and second-order Runge–Kutta steps in σ̃, with churn: the samplers of Karras et al. 2022
(arXiv 2206.00364)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid
from diffdescent.core.options import In, Options
from diffdescent.core.plan import Output, Plan, Row, euler_row
from diffdescent.core.process import Point, Process

from .base import Variable, register
from .fresh_noise import forward_sigma, noisy_plan, posterior_sigma, require_descending

Clock = Literal["sigma", "variance", "time"]
"""The variable along which steps are straight: σ̃; σ̃² (the VE equation of Song et al. 2021); or
the process's own time, in its own coordinates (its native probability-flow ODE)."""


class _Slope(NamedTuple):
    """dy/dτ = x·y + eps·ε."""

    x: float
    eps: float


def _coordinate(at: Point, clock: Clock) -> tuple[float, float]:
    """The clock's time τ, and n for which the ODE is solved in y = x/n."""
    if clock == "time":
        return at.t, 1.0
    return (at.ratio if clock == "sigma" else at.ratio**2), at.alpha


def _slope(process: Process, at: Point, clock: Clock) -> _Slope:
    """The probability-flow ODE in the variables of ``clock`` (arXiv 2206.00364, eqs. 1 and 4)."""
    if clock == "sigma":
        return _Slope(0.0, 1.0)
    if clock == "variance":
        return _Slope(0.0, 0.5 / at.ratio)
    # With x = α(x0 + σ̃ε): dx/dt = (d log α/dt) x + α (dσ̃/dt) ε.
    rate = float(process.ratio_slope(at.t))
    return _Slope(process.log_alpha_slope(at) * rate, at.alpha * rate)


@dataclass(frozen=True)
class _Churned(Options):
    """Options of ``euler`` and ``heun``.

    Churn (algorithm 2): where ``s_min`` ≤ σ̃ ≤ ``s_max``, a step first raises σ̃ to σ̂ = (1 + γ)σ̃
    with γ = min(``s_churn``/N, √2 − 1), adding √(σ̂² − σ̃²)·``s_noise``·z. ``clock``: see
    :data:`Clock`; every clock but ``sigma`` is an ablation, and wrong even where the network is
    constant.
    """

    s_churn: Annotated[float, In(0, hint="0 is deterministic")] = 0.0
    s_min: Annotated[float, In(0)] = 0.0
    s_max: Annotated[float, In(0)] = math.inf
    s_noise: Annotated[float, In(0, ends="[)", hint="1 is the paper's usual")] = 1.0
    clock: Clock = "sigma"
    name: ClassVar[str]
    variable: ClassVar[Variable] = "sigma"

    def check_together(self) -> None:
        if self.s_min > self.s_max:
            raise UserError(
                f"{self.name} adds churn where s_min ≤ σ/α ≤ s_max, and s_min={self.s_min} is above"
                f" s_max={self.s_max}; exchange them."
            )

    @property
    def stochastic(self) -> bool:
        return self.s_churn > 0

    @property
    def keeps_variance(self) -> bool:
        return self.clock == "sigma" and (self.s_noise == 1 or not self.stochastic)

    def plan(self, grid: Grid) -> Plan:
        if self.stochastic:
            require_descending(grid, f"{self.name}(s_churn={self.s_churn:g})")
        points = grid.points
        raised = [self._raised(grid, p) for p in points[:-1]]
        rows: list[Row] = []
        for i, (src, dst) in enumerate(zip(raised, points[1:], strict=True)):
            if self.clock == "time" and grid.process.straight and src.sigma and dst.alpha:
                rows += self._straight_rows(grid, i, src, dst)
            elif math.isinf(src.lam) or dst.alpha == 0:
                rows.append(euler_row(i, src, dst, "eps"))
            else:
                rows += self._rows(grid, i, src, dst)
            if i + 1 < grid.steps and raised[i + 1] is not dst:
                # Draw 1, since draw 0 of the first step may be the plan's start.
                last = rows[-1]
                rows[-1] = replace(
                    last, outputs=(*last.outputs, self._kick(dst, raised[i + 1], draw=1))
                )
        start = () if raised[0] is points[0] else (self._kick(points[0], raised[0], draw=0),)
        noisy = f"(s_churn={self.s_churn:g})" if self.stochastic else ""
        return Plan(grid, tuple(rows), start=start, name=f"{self.name}{noisy}")

    def _raised(self, grid: Grid, point: Point) -> Point:
        gamma = min(self.s_churn / grid.steps, math.sqrt(2) - 1)
        if not gamma or not self.s_min <= point.ratio <= self.s_max or math.isinf(point.lam):
            return point
        return grid.at_ratio(point.ratio * (1 + gamma))

    def _kick(self, src: Point, dst: Point, draw: int) -> Output:
        noise = self.s_noise * forward_sigma(dst, src)
        return Output(dst, commit=False, base=dst.alpha / src.alpha, noise=noise, draw=draw)

    def _rows(self, grid: Grid, step: int, src: Point, dst: Point) -> list[Row]:
        return [self._along(grid, step, src, dst)]

    def _straight_rows(self, grid: Grid, step: int, src: Point, dst: Point) -> list[Row]:
        """Steps along the velocity dx/dσ = (x − x0)/σ of a straight process, which is finite at
        pure noise."""
        length = (dst.sigma - src.sigma) / src.sigma
        return [Row(step, src, "x0", (Output(dst, current=1 + length, evals=(-length,)),))]

    def _along(self, grid: Grid, step: int, src: Point, dst: Point, to: Point | None = None) -> Row:
        """Along the slope at ``src`` to ``dst``, or to the inner level ``to`` on the way.

        ``current`` carries the state, which churn has made another than the base.
        """
        end = to or dst
        (tau, scale), (tau_end, scale_end) = (
            _coordinate(src, self.clock),
            _coordinate(end, self.clock),
        )
        slope, length = _slope(grid.process, src, self.clock), tau_end - tau
        out = Output(
            end,
            commit=to is None,
            current=scale_end / scale * (1 + length * slope.x),
            evals=(scale_end * length * slope.eps,),
        )
        return Row(step, src, "eps", (out,), keep=() if to is None else (0,))


@register("euler")
@dataclass(frozen=True)
class Euler(_Churned):
    """Euler in σ̃ with churn, or with ``eta`` > 0 the noise of DDIM(η) in place of churn: η = 1 is
    k-diffusion's ``euler_ancestral``. Without either it is DDIM.

    Raises:
        UserError: an eta outside [0, 1], or together with churn or another clock.
    """

    eta: Annotated[float, In(0, 1, hint="0 is deterministic, 1 is ancestral")] = 0.0
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"s_churn": 4.0}, {"eta": 1.0})
    order: ClassVar[int] = 1
    cold_order: ClassVar[int] = 1

    def check_together(self) -> None:
        super().check_together()
        if self.eta and (self.s_churn or self.clock != "sigma"):
            raise UserError(
                "euler draws the noise of eta, or that of churn, and eta's on the clock sigma;"
                " leave s_churn and clock out."
            )

    @property
    def stochastic(self) -> bool:
        return self.s_churn > 0 or self.eta > 0

    def plan(self, grid: Grid) -> Plan:
        if not self.eta:
            return super().plan(grid)
        name = f"euler(eta={self.eta:g})"
        require_descending(grid, name)

        def rule(src: Point, dst: Point) -> tuple[float, float]:
            s = self.eta * posterior_sigma(src, dst)
            return math.sqrt(max(dst.sigma**2 - s**2, 0.0)), s * self.s_noise

        return noisy_plan(grid, name, rule)


@register("heun")
@dataclass(frozen=True)
class Heun(_Churned):
    """Second order in σ̃ with churn: 2N − 1 evaluations on a grid that ends at σ = 0, where the
    last step is Euler.

    d at σ̂, then d' at σ̂ + α(σ̃_s − σ̂) along d; the step takes (1 − 1/(2α)) d + 1/(2α) d'
    (algorithm 3). ``alpha`` = 1 is Heun, 1/2 the midpoint rule, 2/3 Ralston's.
    """

    alpha: Annotated[float, In(0, 1, "(]", "1 is Heun, 0.5 the midpoint rule")] = 1.0
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"alpha": 0.75}, {"s_churn": 4.0})
    order: ClassVar[int] = 2
    cold_order: ClassVar[int] = 2

    def _rows(self, grid: Grid, step: int, src: Point, dst: Point) -> list[Row]:
        if dst.sigma == 0:
            return super()._rows(grid, step, src, dst)
        middle = dst if self.alpha == 1 else self._inner(grid, src, dst)
        first = self._along(grid, step, src, dst, to=middle)
        (tau, _), (tau_mid, scale_mid), (tau_end, scale) = (
            _coordinate(p, self.clock) for p in (src, middle, dst)
        )
        begin, inner = (_slope(grid.process, p, self.clock) for p in (src, middle))
        part, length, share = tau_mid - tau, tau_end - tau, 1 / (2 * self.alpha)
        # The inner state is (1 + part·A) y + part·B e: y comes back from it, since the base lacks
        # what churn added.
        on_start = (1 + length * (1 - share) * begin.x) / (1 + part * begin.x)
        out = Output(
            dst,
            current=scale / scale_mid * on_start + scale / scale_mid * length * share * inner.x,
            evals=(
                scale * length * share * inner.eps,
                scale * begin.eps * (length * (1 - share) - on_start * part),
            ),
        )
        return [first, Row(step, middle, "eps", (out,), order=2)]

    def _straight_rows(self, grid: Grid, step: int, src: Point, dst: Point) -> list[Row]:
        if dst.sigma == 0:
            return super()._straight_rows(grid, step, src, dst)
        middle = dst if self.alpha == 1 else self._inner(grid, src, dst)
        part = (middle.sigma - src.sigma) / src.sigma
        length, share = dst.sigma - src.sigma, 1 / (2 * self.alpha)
        inner = Output(middle, commit=False, current=1 + part, evals=(-part,))
        old, new = length * (1 - share) / src.sigma, length * share / middle.sigma
        # The start of the step comes back from the inner state, as the base lacks what churn added:
        # see _rows.
        on_start = (1 + old) / (1 + part)
        out = Output(dst, current=on_start + new, evals=(-new, on_start * part - old))
        return [Row(step, src, "x0", (inner,), keep=(0,)), Row(step, middle, "x0", (out,), order=2)]

    def _inner(self, grid: Grid, src: Point, dst: Point) -> Point:
        """The level at the fraction alpha of the step on the clock."""
        if self.clock == "time":
            return grid.at_time(src.t + self.alpha * (dst.t - src.t))
        power = 2 if self.clock == "variance" else 1
        start, end = src.ratio**power, dst.ratio**power
        return grid.at_ratio((start + self.alpha * (end - start)) ** (1 / power))
