"""PNDM: pseudo numerical methods for diffusion models (Liu et al., ICLR 2022, arXiv 2202.09778)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid
from diffdescent.core.options import Options
from diffdescent.core.plan import Plan, Row, euler_row
from diffdescent.core.process import Point

from .base import Spacing, Variable, fixed_coefficients, register
from .quadrature import equal_step_weights
from .sigma_space import finite, multistep_rows, output, stage_rows, steps

_START = 3
"""Steps that fill the history of the fourth-order multistep method."""


@register("pndm")
@dataclass(frozen=True)
class PNDM(Options):
    """F-PNDM: three pseudo Runge–Kutta steps of four evaluations each (eq. 13), then PLMS (eq. 12);
    N + 9 evaluations.

    Pseudo Runge–Kutta 4 takes the classical weights with the DDIM transfer φ in place of x + h·e:

        e1  = ε(x_t, t)
        e2  = ε(φ(x_t, e1, t, m), m)
        e3  = ε(φ(x_t, e2, t, m), m)
        e4  = ε(φ(x_t, e3, t, s), s)
        x_s = φ(x_t, (e1 + 2 e2 + 2 e3 + e4)/6, t, s)

    with m the middle of t and s in the process's time. That is the middle in σ̃ only up to O(h), so
    a start-up step is of second order where those of Runge–Kutta are of fourth. History holds e1 of
    each. A start-up step that touches σ̃ = ∞, or would evaluate the network at σ = 0, is of first
    order.

    ``released``: m as the public code has it, in whole timesteps. With k = t − s the first inner
    state goes to t − ⌊k/2⌋ and the network is asked at s + ⌊k/2⌋; the two differ where k is odd.

    Raises:
        UserError: a process without whole timesteps then.
    """

    released: bool = False
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
    variable: ClassVar[Variable] = "sigma"
    stochastic: ClassVar[bool] = False
    order: ClassVar[int] = 4
    cold_order: ClassVar[int] = 3

    def order_on(self, spacing: Spacing, cold: bool = False) -> int:
        return fixed_coefficients(self.cold_order if cold else self.order, spacing)

    def plan(self, grid: Grid) -> Plan:
        if self.released and grid.process.trained_times is None:
            raise UserError(
                "pndm(released=true) halves its steps in whole timesteps, which this process does"
                " not have; write pndm."
            )
        rows: list[Row] = []
        known: list[Point] = []
        for i, (src, dst) in enumerate(steps(grid)[:_START]):
            older = len(known)
            if not (finite(src) and finite(dst)) or dst.sigma == 0:
                known = [src, *known] if finite(src) else []
                rows.append(euler_row(i, src, dst, "eps", tuple(range(len(known)))))
                continue
            reached, middle = self._middle(grid, src, dst)
            half, full = middle.ratio - src.ratio, dst.ratio - src.ratio
            weights = (
                (half,),
                (0.0, half),
                (0.0, 0.0, full),
                (full / 6, full / 3, full / 3, full / 6),
            )
            known = [src, *known]
            keep = tuple(range(3, 4 + older))
            stages = stage_rows(
                i, (src, middle, middle, dst, dst), weights, keep, older=older, order=2
            )
            if reached != middle:
                out = output(src, reached, (reached.ratio - src.ratio,), commit=False)
                stages = (replace(stages[0], outputs=(replace(out, point=middle),)), *stages[1:])
            rows += stages
        rest = multistep_rows(
            grid, 4, equal_step_weights, first=min(_START, grid.steps), known=known
        )
        return Plan(grid, (*rows, *rest), name="pndm")

    def _middle(self, grid: Grid, src: Point, dst: Point) -> tuple[Point, Point]:
        """The level that the first inner state reaches, and the one at which the network is
        asked."""
        if not self.released:
            middle = grid.at_time((src.t + dst.t) / 2)
            return middle, middle
        half = round(src.t - dst.t) // 2
        return grid.at_time(src.t - half), grid.at_time(dst.t + half)
