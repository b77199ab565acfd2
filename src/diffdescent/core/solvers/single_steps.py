"""Where the single steps of DPM-Solver begin, end and have their stages."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid
from diffdescent.core.process import Point

from .exponential import is_finite


class Span(NamedTuple):
    """A step's start, end and inner levels."""

    src: Point
    dst: Point
    stages: Sequence[Point]


def singlestep_orders(evaluations: int, order: int) -> tuple[int, ...]:
    """The orders of single steps that spend exactly ``evaluations``: as many full ones as fit, then
    the rest.

    Order 3 ends with …, 2, 1 when three divides the budget (arXiv 2206.00927, section 3.4).
    """
    if order == 3 and evaluations % 3 == 0:
        return (3,) * (evaluations // 3 - 1) + (2, 1)
    rest = evaluations % order
    return (order,) * (evaluations // order) + ((rest,) if rest else ())


def lambda_spans(
    grid: Grid, orders: Sequence[int], end: Callable[[Point, Point], float]
) -> list[Span]:
    """Every grid step, of order p with p − 1 stages at equal fractions of its way in λ, which ends
    at ``end(src, dst)``."""
    spans = []
    for (src, dst), order in zip(pairwise(grid.points), orders, strict=True):
        stages: list[Point] = []
        if is_finite(src, dst):
            h = end(src, dst) - src.lam
            fractions = (src.lam + h * k / order for k in range(1, order))
            stages = [grid.at_ratio(math.exp(-lam)) for lam in fractions]
        spans.append(Span(src, dst, stages))
    return spans


def grid_spans(grid: Grid, orders: Sequence[int]) -> list[Span]:
    """Steps of order p over p grid steps, with the levels between as stages.

    Raises :class:`UserError` unless the orders add up to the grid's steps.
    """
    if sum(orders) != grid.steps:
        raise UserError(
            f"Single steps on the grid's own levels need orders that add up to its {grid.steps}"
            f" steps, not to {sum(orders)}."
        )
    spans, at = [], 0
    for p in orders:
        inside = grid.points[at : at + p + 1]
        if is_finite(inside[0], inside[-1]):
            spans.append(Span(inside[0], inside[-1], inside[1:-1]))
        else:  # what goes from or to infinite λ is stepped by itself
            spans += [Span(a, b, ()) for a, b in pairwise(inside)]
        at += p
    return spans
