"""Adams–Bashforth methods on ε over σ̃: with the coefficients of equal steps (PLMS, iPNDM), or of
the real ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from diffdescent.core.grid import Grid
from diffdescent.core.options import In, Options
from diffdescent.core.plan import Plan

from .base import Spacing, Variable, fixed_coefficients, register
from .quadrature import equal_step_weights, variable_step_weights
from .sigma_space import finite, multistep_rows, stage_rows, steps

Order = Annotated[int, In(1, 4)]
"""As many past evaluations as there are coefficients for."""


@register("plms")
@dataclass(frozen=True)
class PLMS(Options):
    """Pseudo linear multistep (Liu et al. 2022, eq. 12): ε̄ = (55 e_t − 59 e_{t+1} + 37 e_{t+2} − 9
    e_{t+3})/24 inside the DDIM transfer.

    ``start``: ``"ramp"`` takes Adams–Bashforth of orders 1, 2, 3 first; ``"ddim"`` first-order
    steps until the history is full (the momentum paper); ``"heun"`` evaluates the first step twice
    and averages, then ramps (the start of Stable Diffusion and of diffusers' ``skip_prk_steps``;
    with order 2 it is S-PNDM), N + 1 evaluations. The coefficients are those of equal steps in σ̃:
    where steps vary the order drops (see ``order_on``).

    Raises:
        UserError: an unknown start or an order outside 1–4.
    """

    start: Literal["ramp", "ddim", "heun"] = "ramp"
    order: Order = 4
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {}, {"start": "ddim"}, {"start": "heun"}, {"start": "heun", "order": 2}, {"order": 1},
    )  # fmt: skip
    variable: ClassVar[Variable] = "sigma"
    stochastic: ClassVar[bool] = False

    @property
    def cold_order(self) -> int:
        """A single Euler step costs O(h²) once, a single Heun step O(h³)."""
        return min(self.order, 3 if self.start == "heun" else 2)

    def order_on(self, spacing: Spacing, cold: bool = False) -> int:
        return fixed_coefficients(self.cold_order if cold else self.order, spacing)

    def plan(self, grid: Grid) -> Plan:
        name = f"plms(start={self.start}, order={self.order})"
        src, dst = steps(grid)[0]
        # The second evaluation is at the first step's end, where ε must be defined.
        if self.start == "heun" and finite(src) and finite(dst) and dst.sigma > 0:
            change = dst.ratio - src.ratio
            kept = (1,) if self.order > 1 and grid.steps > 1 else ()
            first = stage_rows(
                0, (src, dst, dst), ((change,), (change / 2, change / 2)), kept, order=2
            )
            rest = multistep_rows(
                grid, self.order, equal_step_weights, first=1, known=(src,)[: len(kept)]
            )
            return Plan(grid, first + rest, name=name)
        warm = self.order if self.start == "ddim" else 1
        return Plan(
            grid, multistep_rows(grid, self.order, equal_step_weights, warm=warm), name=name
        )


@register("ipndm")
@dataclass(frozen=True)
class IPNDM(Options):
    """iPNDM (Zhang and Chen 2023, section 3.2): PLMS started by Adams–Bashforth of orders 1, 2, …
    up to ``order``.

    Raises:
        UserError: an order outside 1–4.
    """

    order: Order = 4
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"order": 3},
        {"order": 2},
        {"order": 1},
    )
    variable: ClassVar[Variable] = "sigma"
    stochastic: ClassVar[bool] = False

    @property
    def cold_order(self) -> int:
        return min(self.order, 2)

    def order_on(self, spacing: Spacing, cold: bool = False) -> int:
        return fixed_coefficients(self.cold_order if cold else self.order, spacing)

    def plan(self, grid: Grid) -> Plan:
        return Plan(
            grid,
            multistep_rows(grid, self.order, equal_step_weights),
            name=f"ipndm(order={self.order})",
        )


@register("ab")
@dataclass(frozen=True)
class AdamsBashforth(Options):
    """Variable-step Adams–Bashforth in σ̃: the Lagrange polynomial of the last ε, integrated
    exactly.

    DEIS calls it ρAB (Zhang and Chen 2023, section 3.3); at order 4 it is k-diffusion's ``lms``,
    which integrates numerically.

    Raises:
        UserError: an order outside 1–4.
    """

    order: Order = 3
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"order": 1},
        {"order": 2},
        {"order": 4},
    )
    variable: ClassVar[Variable] = "sigma"
    stochastic: ClassVar[bool] = False

    @property
    def cold_order(self) -> int:
        return min(self.order, 2)

    def plan(self, grid: Grid) -> Plan:
        return Plan(
            grid,
            multistep_rows(grid, self.order, variable_step_weights),
            name=f"ab(order={self.order})",
        )


@register("lms")
@dataclass(frozen=True)
class LMS(AdamsBashforth):
    """k-diffusion's ``lms``: :class:`AdamsBashforth` of order 4."""

    order: Order = 4
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = ({},)
