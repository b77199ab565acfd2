"""Methods that integrate the noise prediction over σ̃: with x̃ = x/α the flow is dx̃/dσ̃ = ε(x, t),
hence

    x_s = α_s (x_t/α_t + Σ_j w_j ε_j),    Σ_j w_j = σ̃_s − σ̃_t.

(Song et al. 2021, eq. 14; Zhang and Chen 2023, eq. 11.) The weights w say which method it is; the
rows are the same. Where σ̃ is infinite they are not finite, and the step is the first-order one in
its x0-form.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from diffdescent.core.grid import Grid
from diffdescent.core.plan import Output, Row, euler_row
from diffdescent.core.process import Point

Weights = Callable[[Sequence[Point], Point], Sequence[float]]
"""(points of the evaluations, newest first; where the step ends) ↦ their weights w."""


def output(src: Point, dst: Point, weights: Sequence[float], commit: bool = True) -> Output:
    """x_s = α_s (x_base/α_t + Σ w_j ε_j), the base being at ``src``."""
    return Output(
        dst, commit, base=dst.alpha / src.alpha, evals=tuple(dst.alpha * w for w in weights)
    )


def finite(point: Point) -> bool:
    """Whether σ̃ is finite."""
    return math.isfinite(point.ratio)


def steps(grid: Grid) -> list[tuple[Point, Point]]:
    """The (start, end) of each step."""
    return list(zip(grid.points[:-1], grid.points[1:], strict=True))


def multistep_rows(
    grid: Grid,
    order: int,
    weights: Weights,
    *,
    usable: Callable[[Point], bool] = finite,
    first: int = 0,
    known: Sequence[Point] = (),
    warm: int = 1,
    caps: Sequence[int] = (),
) -> tuple[Row, ...]:
    """One evaluation a step, combined with up to ``order`` − 1 earlier ones (fewer in a step i with
    a lower caps[i]).

    ``known`` are the points of evaluations that are kept when step ``first`` begins. A step with
    fewer than ``warm`` evaluations at hand is of first order. Steps that touch a point that is not
    ``usable`` (its place is infinite in the variable of the interpolation) are of first order too,
    and an evaluation there does not enter the history.
    """
    history = list(known)
    rows = []
    for i, (src, dst) in enumerate(steps(grid)[first:], start=first):
        nodes = [src, *history][:order]
        history = nodes[: order - 1] if usable(src) else []
        keep = tuple(range(len(history)))
        if usable(src) and usable(dst):
            used = nodes[: caps[i] if caps else None] if len(nodes) >= warm else nodes[:1]
            rows.append(
                Row(i, src, "eps", (output(src, dst, weights(used, dst)),), keep, len(used))
            )
        else:
            rows.append(euler_row(i, src, dst, "eps", keep))
    return tuple(rows)


def stage_rows(
    step: int,
    points: Sequence[Point],
    weights: Sequence[Sequence[float]],
    keep: tuple[int, ...] = (),
    *,
    older: int = 0,
    order: int = 1,
) -> tuple[Row, ...]:
    """The evaluations of one explicit Runge–Kutta step.

    ``points`` are those of the stages and then of the step's end; ``weights[i]`` the w of the state
    at ``points[i + 1]``, over the stages in the order in which they are taken. ``older``
    evaluations of earlier steps are carried through; ``keep`` says what stays after the last row (0
    the newest stage, ``len(weights)`` the newest of the older ones).
    """
    rows = []
    for i, w in enumerate(weights):
        last = i == len(weights) - 1
        out = output(points[0], points[i + 1], w[::-1], commit=last)
        rows.append(
            Row(
                step, points[i], "eps", (out,), keep if last else tuple(range(i + 1 + older)), order
            )
        )
    return tuple(rows)
