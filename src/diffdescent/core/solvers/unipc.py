"""UniPC: a multistep predictor and a corrector that reuses the next evaluation (Zhao et al. 2023,
arXiv 2302.04867).

Predictor and corrector are the exponential integrators of :mod:`.exponential` through the
polynomial of the earlier evaluations, the corrector's with the new one at r = 1 as well. The
paper's B(h) cancels wherever its linear system (eq. 10) is solved; it is seen only where the system
is not solved but replaced by ρ = 1/2: in the predictor of order 2 and the corrector of order 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from diffdescent.core.grid import Grid
from diffdescent.core.options import In, Options
from diffdescent.core.plan import Output, Plan, Row, euler_row
from diffdescent.core.predict import Basis

from .base import Spacing, Variable, register
from .exponential import (
    LambdaStep,
    LowerOrderFinal,
    first_usable,
    is_finite,
    midpoint_weight,
    moments,
    polynomial_weights,
    solve_weights,
    step_orders,
)

Order = Annotated[int, In(1, 6)]
Variant = Literal["bh1", "bh2", "vary", "vary_released"]


@register("unipc")
@dataclass(frozen=True)
class UniPC(Options):
    """UniPC-p: ``order`` is the p of the predictor; the corrected method is of order p + 1 (theorem
    3.1).

    ``variant``: ``bh1`` (B = h) and ``bh2`` (B = e^h − 1) take ρ = 1/2 where the paper does;
    ``vary`` (UniPC_v, varying coefficients) solves everywhere. ``vary_released`` is UniPC_v as its
    public code has it: the corrector leaves out the highest derivative but for the new evaluation,
    which it scales by the next φ, and is of first order. ``basis``: ``x0`` or ``eps`` prediction.
    ``corrector=False`` is UniP; ``disable_corrector`` lists single steps that stay uncorrected.
    ``lower_order_final``, ``orders``: see :mod:`.exponential`.

    The last step is never corrected: it would cost one more evaluation. Steps from or to infinite λ
    are of first order and uncorrected.
    """

    order: Order = 2
    variant: Variant = "bh2"
    basis: Basis = "x0"
    corrector: bool = True
    lower_order_final: LowerOrderFinal = "always"
    orders: tuple[Order, ...] = ()
    disable_corrector: tuple[Annotated[int, In(0)], ...] = ()
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"variant": "bh1"},
        {"variant": "vary"},
        {"variant": "vary_released"},
        {"basis": "eps"},
        {"order": 1},
        {"order": 3},
        {"order": 3, "lower_order_final": "never"},
        {"order": 3, "corrector": False},
    )
    variable: ClassVar[Variable] = "lambda"
    stochastic: ClassVar[bool] = False

    @property
    def cold_order(self) -> int:
        return self.order_on("uniform", cold=True)

    def order_on(self, spacing: Spacing, cold: bool = False) -> int:
        """p + 1 with the corrector, p without.

        From a cold start the first predictor's error is O(h²): corrected it is O(h³), uncorrected
        it stays, and so does that of a last step of first order.
        """
        if not self.corrector:
            return min(self.order, 2) if cold else self.order
        if self.variant == "vary_released" and self.order > 1:
            return 1
        if cold:
            return min(self.order + 1, 2 if self.lower_order_final in ("always", "last") else 3)
        return self.order + 1

    def plan(self, grid: Grid) -> Plan:
        points, first, last = grid.points, first_usable(grid), grid.steps - 1
        orders = step_orders(grid, self.order, self.lower_order_final, self.orders)
        steps = [LambdaStep(src, dst, self.basis) for src, dst in pairwise(points)]
        corrected = [
            self.corrector and i < last and i not in self.disable_corrector and is_finite(src, dst)
            for i, (src, dst) in enumerate(pairwise(points))
        ]
        rows = []
        for i, (src, dst) in enumerate(pairwise(points)):
            past = [points[i - j] for j in range(1, max(orders) + 1) if i - j >= first]
            outputs = []
            if i and corrected[i - 1]:
                previous = steps[i - 1]
                nodes = [1.0, *previous.nodes(past[1 : orders[i - 1]])]
                evals = previous.evals(self._corrector(nodes, previous.z), position=1)
                outputs.append(Output(src, base=previous.a, evals=evals))
            if is_finite(src, dst):
                weights = self._predictor(steps[i].nodes(past[: orders[i] - 1]), steps[i].z)
                outputs.append(
                    Output(
                        dst, commit=not corrected[i], base=steps[i].a, evals=steps[i].evals(weights)
                    )
                )
                basis = self.basis
            else:
                row = euler_row(i, src, dst, self.basis)
                outputs += row.outputs
                basis = row.basis
            # The step's own evaluation is still needed when its end is corrected.
            kept = max(orders) - (not self.corrector)
            keep = tuple(range(min(kept, i - first + 1))) if i < last else ()
            rows.append(Row(i, src, basis, tuple(outputs), keep, orders[i], keep_basis=self.basis))
        return Plan(grid, tuple(rows), name=f"unipc(order={self.order}, variant={self.variant})")

    def _half(self, node: float, z: float) -> tuple[float]:
        """The weight at ρ = 1/2: (B/z)/(2r) with B = z or e^z − 1."""
        return (1 / (2 * node),) if self.variant == "bh1" else midpoint_weight(node, z)

    def _predictor(self, nodes: Sequence[float], z: float) -> tuple[float, ...]:
        if len(nodes) == 1 and self.variant in ("bh1", "bh2"):
            return self._half(nodes[0], z)
        return polynomial_weights(nodes, z)

    def _corrector(self, nodes: Sequence[float], z: float) -> tuple[float, ...]:
        """``nodes`` begin with the new evaluation's, r = 1."""
        if len(nodes) == 1 and self.variant in ("bh1", "bh2"):
            return self._half(nodes[0], z)
        if self.variant == "vary_released" and len(nodes) > 1:
            return self._released(nodes, z)
        return polynomial_weights(nodes, z)

    def _released(self, nodes: Sequence[float], z: float) -> tuple[float, ...]:
        """UniPC_v's public corrector: one derivative too few in the sum, and the new evaluation's
        weight off by one.

        With A the inverse of the Taylor matrix and φ_{k+1} the weight of the k-th derivative, it
        takes Σ_{k<K} φ_{k+1} A_{kj} for the earlier evaluations and φ_{K+1} A_{K−1,new} for the new
        one, in place of Σ_{k≤K} φ_{k+1} A_{kj} for all.
        """
        full = moments(len(nodes), z)
        earlier = solve_weights(nodes, [*full[:-1], 0.0])
        count = len(nodes)
        single = solve_weights(nodes, [0.0] * (count - 2) + [full[-1] / count, 0.0])
        return (single[0], *earlier[1:])
