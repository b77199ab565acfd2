"""Budgets are counted in network evaluations: how many steps of a sampler one pays for."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from diffdescent.base.errors import UserError
from diffdescent.core.model_info import info
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Predictor


def evaluations(model: Predictor, plan: Plan) -> int:
    """Network evaluations of ``plan`` for one sample: two for each of its own under classifier-free
    guidance."""
    return sum(info(model).calls_at(row.at) for row in plan.rows)


def steps_for(cost_of: Callable[[int], int], budget: int) -> int:
    """The step count that costs the most network evaluations that ``budget`` allows, the smallest
    of several.

    ``cost_of(steps)`` is the cost of a plan, for which no network is run; it raises
    :class:`UserError` for a step count that cannot be planned. Raises :class:`UserError` when even
    the cheapest plan costs more than ``budget``, and what ``cost_of`` raises when it refuses the
    step counts that would fit.
    """

    @cache
    def cost(steps: int) -> int | None:
        try:
            return cost_of(steps)
        except UserError:
            return None

    def fits(steps: int) -> bool:
        # A sampler may refuse few steps (it needs history), a grid may refuse many (more than there
        # are levels).
        value = cost(steps)
        return steps <= budget if value is None else value <= budget

    if not fits(1):
        raise UserError(
            f"a budget of {budget} network evaluations pays for no step; the cheapest costs"
            f" {cost(1)}"
        )
    # A step costs at least one evaluation, unless a grid removes duplicate levels, at most every
    # other one.
    low, high = 1, 2 * budget + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    best = cost(low)
    if best is None:
        cost_of(low)  # raises the reason
    while low > 1 and cost(low - 1) == best:
        low -= 1
    return low
