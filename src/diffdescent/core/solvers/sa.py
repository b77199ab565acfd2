"""SA-Solver: stochastic Adams predictor and corrector (Xue et al. 2023, arXiv 2309.05019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, ClassVar

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid
from diffdescent.core.options import In, Options
from diffdescent.core.plan import Output, Plan, Row, euler_row
from diffdescent.core.process import Point

from .base import Spacing, Variable, register
from .exponential import (
    LambdaStep,
    LowerOrderFinal,
    first_usable,
    is_finite,
    polynomial_weights,
    step_orders,
)
from .fresh_noise import noisy_row, require_descending


@register("sa")
@dataclass(frozen=True)
class SASolver(Options):
    """SA-Solver in its x0-form: Adams–Bashforth of the reverse SDE with noise of rate τ² in λ, then
    Adams–Moulton with the new evaluation and the same noise (arXiv 2309.05019, algorithm 1),

        x_s = (σ_s/σ_t) e^{−τ²h} x_t + Σ_j b_j x0_j + σ_s √(1 − e^{−2τ²h}) z.

    ``order`` evaluations make the predictor's polynomial; ``corrector`` counts those of the
    corrector's, the new one included, and 0 leaves it out. ``tau``: 0 is the ODE, 1 the reverse
    SDE; it holds where σ/α lies in ``interval`` (everywhere by default; the paper's for EDM is
    [0.05, 1] with tau=0.6) and is 0 elsewhere. ``released``: polynomials of two evaluations with
    the first moment ∫ r e^{…} dr replaced by 1/2, an error of third order, as the public code does.

    ``lower_order_final``: see :data:`~.exponential.LowerOrderFinal`. The predictor alone is
    ``dpmpp(order=p, eta=τ², variant=heun)``.

    Raises:
        UserError: an interval out of order, and a reversed grid with noise.
    """

    order: Annotated[int, In(1, 3)] = 2
    corrector: Annotated[int, In(0, 4, hint="0 leaves the corrector out")] = 2
    tau: Annotated[float, In(0, ends="[)", hint="0 is the ODE, 1 the reverse SDE")] = 1.0
    interval: tuple[float, float] | None = None
    released: bool = True
    lower_order_final: LowerOrderFinal = "always"
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"tau": 0.0},
        {"order": 3, "corrector": 3, "released": False},
        {"order": 3, "corrector": 0},
        {"order": 3, "corrector": 4, "tau": 0.0, "released": False, "lower_order_final": "never"},
    )
    variable: ClassVar[Variable] = "lambda"

    def check_together(self) -> None:
        if self.interval is not None and not 0 <= self.interval[0] < self.interval[1]:
            raise UserError(
                f"sa's interval must be two rising values of σ/α, not {list(self.interval)}; give"
                " for example interval=[0.05, 1]."
            )
        if self.corrector == 1:
            raise UserError(
                "sa's corrector counts the new evaluation and those before it, so it is 0 or at"
                " least 2, not 1."
            )

    @property
    def stochastic(self) -> bool:
        return self.tau > 0

    @property
    def cold_order(self) -> int:
        return self.order_on("uniform", cold=True)

    def order_on(self, spacing: Spacing, cold: bool = False) -> int:
        """Without noise the corrector's number of evaluations, at most one more than the
        predictor's; a first-order end caps a whole run at two. With noise the variance is of the
        second order at most, and of the first where only one evaluation counts."""
        full = min(self.order + 1, self.corrector) if self.corrector else self.order
        if self.stochastic:
            return min(full, 2)
        if not cold:
            return full
        return min(full, 2 if self.lower_order_final in ("always", "last") else 3)

    def plan(self, grid: Grid) -> Plan:
        if self.stochastic:
            require_descending(grid, f"sa(tau={self.tau:g})")
        points, first, last = grid.points, first_usable(grid), grid.steps - 1
        orders = step_orders(grid, self.order, self.lower_order_final)
        steps = [self._step(src, dst) for src, dst in pairwise(points)]
        longest = max(self.order, self.corrector)
        ahead: tuple[float, ...] = ()  # the evaluations of the predicted state, to be corrected
        rows = []
        for i, (src, dst) in enumerate(pairwise(points)):
            past = [points[i - j] for j in range(1, longest + 1) if i - j >= first]
            outputs = []
            if ahead:
                outputs.append(self._corrected(src, steps[i - 1], past, ahead, i, last))
            ahead = ()
            if not is_finite(src, dst):
                row = self._first_order(i, src, dst)
                outputs += row.outputs
            else:
                nodes = steps[i].nodes(past[: orders[i] - 1])
                evals = steps[i].evals(self._weights(nodes, steps[i].z))
                ahead = evals if self.corrector and i < last else ()
                outputs.append(
                    Output(
                        dst,
                        commit=not ahead,
                        base=steps[i].a,
                        evals=evals,
                        noise=steps[i].noise,
                        draw=int(bool(outputs)),
                    )
                )
                row = Row(i, src, "x0", ())
            keep = tuple(range(min(longest, i - first + 1))) if i < last else ()
            rows.append(Row(i, src, row.basis, tuple(outputs), keep, orders[i], keep_basis="x0"))
        name = f"sa(order={self.order}, corrector={self.corrector}, tau={self.tau:g})"
        return Plan(grid, tuple(rows), name=name)

    def _step(self, src: Point, dst: Point) -> LambdaStep:
        lo, hi = self.interval or (0.0, float("inf"))
        return LambdaStep(src, dst, "x0", self.tau**2 if lo <= src.ratio <= hi else 0.0)

    def _first_order(self, step: int, src: Point, dst: Point) -> Row:
        """The step from or to infinite λ; from pure noise, all noise is drawn anew."""
        if self.stochastic and src.alpha == 0 and dst.sigma > 0:
            return noisy_row(step, src, dst, 0.0, dst.sigma)
        return euler_row(step, src, dst, "x0")

    def _corrected(
        self,
        at: Point,
        step: LambdaStep,
        past: Sequence[Point],
        ahead: Sequence[float],
        i: int,
        last: int,
    ) -> Output:
        """The end of the step before, made again with its new evaluation: the predicted state and
        the change of its coefficients, so that its noise stays as it was."""
        count = self.corrector
        if self.lower_order_final == "always":
            count = min(count, last - i + 3)
        nodes = [1.0, *step.nodes(past[1 : count - 1])]
        evals = step.evals(self._weights(nodes, step.z), position=1)
        width = max(len(evals), len(ahead) + 1)
        before = (0.0, *ahead, *[0.0] * (width - len(ahead) - 1))
        after = (*evals, *[0.0] * (width - len(evals)))
        return Output(
            at, current=1.0, evals=tuple(b - a for a, b in zip(before, after, strict=True))
        )

    def _weights(self, nodes: Sequence[float], z: float) -> tuple[float, ...]:
        if self.released and len(nodes) == 1:
            return (1 / (2 * nodes[0]),)
        return polynomial_weights(nodes, z)
