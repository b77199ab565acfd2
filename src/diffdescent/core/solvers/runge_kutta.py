"""ρRK: classical Runge–Kutta methods in σ̃ (Zhang and Chen, ICLR 2023, arXiv 2204.13902)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from diffdescent.core.grid import Grid
from diffdescent.core.options import Options
from diffdescent.core.plan import Plan, Row, euler_row

from .base import Variable, register
from .sigma_space import finite, stage_rows, steps


@dataclass(frozen=True)
class _Tableau:
    """An explicit Runge–Kutta method: rows of A (the first stage has none), b, and its order."""

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    order: int

    @property
    def c(self) -> tuple[float, ...]:
        return (0.0, *map(math.fsum, self.a))


Method = Literal["euler", "heun2", "kutta3", "heun3", "ralston3", "vdh3", "ssprk3", "rk4"]

TABLEAUS: dict[Method, _Tableau] = {
    "euler": _Tableau((), (1.0,), 1),
    "heun2": _Tableau(((1.0,),), (1 / 2, 1 / 2), 2),
    "kutta3": _Tableau(((1 / 2,), (-1.0, 2.0)), (1 / 6, 2 / 3, 1 / 6), 3),
    "heun3": _Tableau(((1 / 3,), (0.0, 2 / 3)), (1 / 4, 0.0, 3 / 4), 3),
    "ralston3": _Tableau(((1 / 2,), (0.0, 3 / 4)), (2 / 9, 1 / 3, 4 / 9), 3),
    "vdh3": _Tableau(((8 / 15,), (1 / 4, 5 / 12)), (1 / 4, 0.0, 3 / 4), 3),
    "ssprk3": _Tableau(((1.0,), (1 / 4, 1 / 4)), (1 / 6, 1 / 6, 2 / 3), 3),
    "rk4": _Tableau(((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), 4),
}
"""Euler, Heun, Kutta, Heun's third-order, Ralston's third-order, van der Houwen's (Wray's), Shu and
Osher's SSP and the classical method."""


@register("rhork")
@dataclass(frozen=True)
class RhoRK(Options):
    """ρRK: a classical Runge–Kutta method in σ̃ (Zhang and Chen 2023, section 3.4), no history.

    ``method`` is one of ``euler``, ``heun2``, ``kutta3``, ``heun3``, ``ralston3``, ``vdh3``,
    ``ssprk3``, ``rk4``. A step that touches σ̃ = ∞ is of first order, and so is one that would
    evaluate the network at σ = 0.

    Raises:
        UserError: an unknown method.
    """

    method: Method = "heun3"
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = tuple(
        {"method": method} for method in TABLEAUS
    )
    variable: ClassVar[Variable] = "sigma"
    stochastic: ClassVar[bool] = False

    @property
    def order(self) -> int:
        return TABLEAUS[self.method].order

    @property
    def cold_order(self) -> int:
        return self.order

    def plan(self, grid: Grid) -> Plan:
        tableau = TABLEAUS[self.method]
        rows: list[Row] = []
        for i, (src, dst) in enumerate(steps(grid)):
            if not (finite(src) and finite(dst)) or (dst.sigma == 0 and max(tableau.c) >= 1):
                rows.append(euler_row(i, src, dst, "eps"))
                continue
            h = dst.ratio - src.ratio
            places = [
                grid.at_ratio(src.ratio + c * h) if 0 < c < 1 else (dst if c else src)
                for c in tableau.c
            ]
            weights = [[h * w for w in row] for row in (*tableau.a, tableau.b)]
            rows += stage_rows(i, (*places, dst), weights, order=tableau.order)
        return Plan(grid, tuple(rows), name=f"rhork({self.method})")
