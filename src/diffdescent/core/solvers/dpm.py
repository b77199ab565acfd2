"""DPM-Solver (ε-form) and DPM-Solver++ (x0-form), multistep and single-step, of the ODE and of the
reverse SDE.

Lu et al. 2022, arXiv 2206.00927 and arXiv 2211.01095. What is common to them is in
:mod:`.exponential`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid
from diffdescent.core.options import In, Options
from diffdescent.core.plan import Output, Plan, Row, euler_row
from diffdescent.core.predict import Basis
from diffdescent.core.process import Point

from .base import Spacing, Variable, register
from .exponential import (
    LambdaStep,
    LowerOrderFinal,
    first_usable,
    is_finite,
    midpoint_weight,
    moments,
    orders_for,
    phi,
    polynomial_weights,
    solve_weights,
    step_orders,
)
from .fresh_noise import noisy_row, posterior_sigma, require_descending
from .single_steps import Span, grid_spans, lambda_spans, singlestep_orders

Order = Annotated[int, In(1, 3)]


@dataclass(frozen=True)
class _DPMSolver(Options):
    """Options of ``dpm`` and ``dpmpp``.

    ``order`` 1 to 3. ``method="multistep"`` uses earlier steps, ``"singlestep"`` stages inside each
    step. ``variant``: ``"midpoint"`` is the released ``solver_type="dpmsolver"``, ``"heun"`` the
    released ``"taylor"`` (the names are diffusers'); they differ in the second-order formula and in
    single steps of order 3. ``lower_order_final``: see :data:`LowerOrderFinal` (diffusers'
    ``euler_at_final`` is ``"last"``). ``orders`` gives the order of each step instead.

    Single steps: ``inner="lambda"`` puts the stages at λ-fractions 1/2, or 1/3 and 2/3, of every
    grid step. ``inner="grid"`` takes the grid's own levels: a step of order p spans p of them, so
    that a grid of N steps costs N evaluations, by :func:`singlestep_orders` (the released spacing
    by time, and diffusers' single-step scheduler).

    ``eta`` > 0 adds noise. ``noise="sde"``: the exponential integrator of the reverse SDE
    (k-diffusion's ``dpmpp_2m_sde``, ``dpmpp_3m_sde`` and, single-step, ``dpmpp_sde``).
    ``noise="ancestral"``: the ODE's step to a lower level √(σ_s² − η²σ_up²), σ_up the posterior's
    deviation, then noise (``dpmpp_2s_ancestral``, ``dpm2_ancestral``). The two agree at order 1 and
    η = 1.

    ``released`` (multistep order 3): the public code halves the second difference, which makes it
    second order; this is what diffusers and k-diffusion run as 3M.

    :meth:`order_on` says which order of convergence comes out. Steps from or to infinite λ are of
    first order, and the history begins after them.
    """

    order: Order = 2
    method: Literal["multistep", "singlestep"] = "multistep"
    variant: Literal["midpoint", "heun"] = "midpoint"
    lower_order_final: LowerOrderFinal = "auto"
    inner: Literal["lambda", "grid"] = "lambda"
    orders: tuple[Order, ...] = ()
    eta: Annotated[float, In(0, ends="[)", hint="0 is the ODE, 1 the reverse SDE")] = 0.0
    noise: Literal["sde", "ancestral"] = "sde"
    released: bool = False
    name: ClassVar[str]
    basis: ClassVar[Basis]
    variable: ClassVar[Variable] = "lambda"

    def check_together(self) -> None:
        if self.eta > 1 and self.noise == "ancestral":
            raise UserError(
                f"{self.name}'s eta must be at most 1 with noise=ancestral, not {self.eta}; at 1"
                " the noise is that of the posterior."
            )

    @property
    def stochastic(self) -> bool:
        return self.eta > 0

    @property
    def cold_order(self) -> int:
        return self.order_on("uniform", cold=True)

    @property
    def keeps_variance(self) -> bool:
        """x0 is constant over a constant denoiser whatever noise is added; ε is so only within a
        step of the ODE."""
        within = self.noise == "ancestral" and self.method == "singlestep"
        return not self.stochastic or self.basis == "x0" or within

    def order_on(self, spacing: Spacing, cold: bool = False) -> int:
        """The order of the full formula; a first-order start or end caps a whole run at two.

        With noise, what counts is the variance. An ancestral step inherits the order of the single
        step inside it. The SDE's formulas leave out how the network moves with a step's own noise,
        an error of first order, which the extrapolation of a multistep formula makes good one step
        later, up to second order; the ancestral multistep extrapolates over another distance and
        does not.
        """
        multistep = self.method == "multistep"
        if self.stochastic and multistep == (self.noise == "ancestral"):
            return 1
        # Single-step order 3 needs its last stage at 2/3 in the "midpoint" form, which a grid's
        # levels are not.
        off_thirds = not multistep and self.inner == "grid" and self.variant == "midpoint"
        capped = (multistep and (self.released or self.stochastic)) or off_thirds
        ramp = cold and (multistep or self.inner == "grid")
        return min(self.order, 2) if capped or ramp else self.order

    def plan(self, grid: Grid) -> Plan:
        if self.stochastic:
            require_descending(grid, f"{self.name}(eta={self.eta:g})")
        rows = self._multistep(grid) if self.method == "multistep" else self._singlestep(grid)
        noisy = f", eta={self.eta:g}" if self.stochastic else ""
        return Plan(
            grid, tuple(rows), name=f"{self.name}(order={self.order}, {self.method}{noisy})"
        )

    def _target(self, src: Point, dst: Point) -> tuple[Point, float]:
        """Where the ODE's step goes, and the noise that takes it from there to ``dst``'s level."""
        if not self.stochastic or self.noise == "sde":
            return dst, 0.0
        # √(σ_s² − η²σ_up²) with σ_up² = σ_s²(1 − ρ²), ρ = σ̃_s/σ̃_t, without its cancellation.
        kept = math.hypot(math.sqrt(1 - self.eta**2), self.eta * dst.ratio / src.ratio)
        return dst._replace(sigma=dst.sigma * kept), self.eta * posterior_sigma(src, dst)

    def _step(self, src: Point, dst: Point) -> LambdaStep:
        return LambdaStep(src, dst, self.basis, self.eta if self.noise == "sde" else 0.0)

    def _first_order(self, step: int, src: Point, dst: Point) -> Row:
        """The step from or to infinite λ: DDIM; from pure noise a stochastic one draws all of its
        noise anew."""
        if self.stochastic and src.alpha == 0 and dst.sigma > 0:
            return noisy_row(step, src, dst, 0.0, dst.sigma)
        return euler_row(step, src, dst, self.basis)

    def _commit(
        self, step: LambdaStep, dst: Point, up: float, evals: tuple[float, ...], draw: int = 0
    ) -> Output:
        """The step's end; either kind of noise is zero where the other is not."""
        return Output(dst, base=step.a, evals=evals, noise=up or step.noise, draw=draw)

    def _multistep(self, grid: Grid) -> list[Row]:
        points, first = grid.points, first_usable(grid)
        rows = []
        orders = step_orders(grid, self.order, self.lower_order_final, self.orders)
        longest = max(orders)
        for i, (src, dst) in enumerate(pairwise(points)):
            if not is_finite(src, dst):
                rows.append(self._first_order(i, src, dst))
                continue
            target, up = self._target(src, dst)
            step = self._step(src, target)
            nodes = step.nodes([points[i - j] for j in range(1, orders[i])])
            out = self._commit(step, dst, up, step.evals(self._multistep_weights(nodes, step.z)))
            keep = tuple(range(min(longest - 1, i - first + 1))) if i < grid.steps - 1 else ()
            rows.append(Row(i, src, self.basis, (out,), keep, order=orders[i]))
        return rows

    def _multistep_weights(self, nodes: Sequence[float], z: float) -> tuple[float, ...]:
        if len(nodes) == 1 and self.variant == "midpoint":
            return midpoint_weight(nodes[0], z)
        targets = moments(len(nodes), z)
        if len(nodes) == 2 and self.released:
            targets[1] /= 2
        return solve_weights(nodes, targets)

    def _singlestep(self, grid: Grid) -> list[Row]:
        rows: list[Row] = []
        for i, (src, dst, stages) in enumerate(self._spans(grid)):
            rows += (
                self._stages(i, src, dst, stages)
                if is_finite(src, dst)
                else [self._first_order(i, src, dst)]
            )
        return rows

    def _spans(self, grid: Grid) -> list[Span]:
        if self.inner == "grid":
            return grid_spans(grid, self.orders or singlestep_orders(grid.steps, self.order))
        orders = orders_for(grid, self.order, self.orders)
        return lambda_spans(grid, orders, lambda src, dst: self._target(src, dst)[0].lam)

    def _stages(self, index: int, src: Point, dst: Point, stages: Sequence[Point]) -> list[Row]:
        """The rows of one single step; ``evals`` run from the newest stage back to the step's
        start."""
        target, up = self._target(src, dst)
        rows = []
        for k, end in enumerate([*stages, target]):
            step = self._step(src, end)
            nodes = step.nodes(stages[:k])[::-1]
            evals = step.evals(
                self._stage_weights(nodes, step.z, last=k == len(stages)), position=k
            )
            at = stages[k - 1] if k else src
            if k == len(stages):
                out = self._commit(step, dst, up, evals, draw=k)
                keep: tuple[int, ...] = ()
            else:
                out = replace(self._commit(step, end, 0.0, evals, draw=k), commit=False)
                keep = tuple(range(k + 1))
            rows.append(Row(index, at, self.basis, (out,), keep, order=k + 1))
        return rows

    def _stage_weights(self, nodes: Sequence[float], z: float, last: bool) -> tuple[float, ...]:
        """Weights of the earlier stages, newest first; at r = 2/3 alone φ_2/r is of third order
        (algorithm 5)."""
        if self.variant == "midpoint" and last:
            if len(nodes) == 1:
                return midpoint_weight(nodes[0], z)
            if len(nodes) == 2:
                return (phi(2, z) / nodes[0], 0.0)
        return polynomial_weights(nodes, z)


_COMMON: tuple[Mapping[str, Any], ...] = (
    {},
    {"order": 1},
    {"variant": "heun"},
    {"order": 3},
    {"method": "singlestep"},
    {"method": "singlestep", "variant": "heun"},
    {"method": "singlestep", "order": 3},
    {"method": "singlestep", "order": 3, "variant": "heun"},
    {"method": "singlestep", "inner": "grid"},
    {"eta": 1.0},
    {"eta": 1.0, "order": 3},
    {"eta": 1.0, "noise": "ancestral"},
    {"eta": 1.0, "method": "singlestep"},
    {"eta": 1.0, "method": "singlestep", "noise": "ancestral"},
)


@register("dpm")
@dataclass(frozen=True)
class DPM(_DPMSolver):
    """DPM-Solver: polynomials in λ through the predicted noise (arXiv 2206.00927).

    Single-step order 2 in VE coordinates is k-diffusion's ``dpm_2``.
    """

    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (*_COMMON, {"order": 3, "released": True})
    basis: ClassVar[Basis] = "eps"


@register("dpmpp")
@dataclass(frozen=True)
class DPMpp(_DPMSolver):
    """DPM-Solver++: polynomials in λ through the predicted image (arXiv 2211.01095).

    The default is 2M; ``method="singlestep"`` is 2S.
    """

    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (*_COMMON, {"eta": 1.0, "variant": "heun"})
    basis: ClassVar[Basis] = "x0"
