"""Budgets count network evaluations, and are met as closely as a sampler can."""

from __future__ import annotations

import contextlib
from itertools import pairwise

import pytest

import diffdescent as dd
from diffdescent.base.errors import UserError
from diffdescent.core.recipe import parse, parse_grid
from diffdescent.guidance import apply_guidance
from diffdescent.models import load_model
from diffdescent.run.budget import evaluations, steps_for

VP = dd.VP.named()


def cost(recipe: str, grid: str, steps: int) -> int:
    return parse(recipe).plan(parse_grid(grid, VP, steps)).nfe


@pytest.mark.parametrize(
    "recipe", ["ddim", "heun", "pndm", "plms", "dpmpp(order=2, method=singlestep)", "unipc"]
)
@pytest.mark.parametrize("grid", ["uniform(spacing=trailing)", "quadratic"])
def test_no_other_step_count_uses_more_of_the_budget(recipe: str, grid: str) -> None:
    known = {}
    for steps in range(1, 61):
        with contextlib.suppress(UserError):
            known[steps] = cost(recipe, grid, steps)
    for budget in (1, 2, 5, 7, 10, 20, 25):
        fitting = {steps: c for steps, c in known.items() if c <= budget}
        if not fitting:
            with pytest.raises(UserError):
                steps_for(lambda n: cost(recipe, grid, n), budget)
            continue
        chosen = steps_for(lambda n: cost(recipe, grid, n), budget)
        best = max(fitting.values())
        assert cost(recipe, grid, chosen) == best
        assert chosen == min(steps for steps, c in fitting.items() if c == best)


def test_heun_takes_two_evaluations_a_step_but_one_at_the_last() -> None:
    assert steps_for(lambda n: cost("heun", "uniform", n), 10) == 5  # nine evaluations
    assert cost("heun", "uniform", 5) == 9


def test_a_budget_below_the_cheapest_plan_is_refused() -> None:
    with pytest.raises(UserError, match=r"budget of 3 .* the cheapest costs 4"):
        steps_for(lambda n: 4 * n, 3)


def test_more_steps_than_the_model_was_trained_on_are_refused() -> None:
    with pytest.raises(UserError, match="more than the 1000"):
        cost("ddim", "uniform", 1001)
    assert steps_for(lambda n: cost("ddim", "uniform", n), 1000) == 1000


def test_classifier_free_guidance_costs_two_evaluations_and_one_outside_of_its_interval() -> None:
    model = load_model("cifar10")
    guided, recipe = apply_guidance("cfg(scale=2)", model, parse("ddim"))
    plan = recipe.plan(parse_grid("loglinear", model.process, 7))
    assert evaluations(guided, plan) == 14
    assert (
        steps_for(lambda n: evaluations(guided, recipe.plan(parse_grid("loglinear", VP, n))), 15)
        == 7
    )
    within, recipe = apply_guidance("cfg(scale=2, interval=[0.3, 2])", model, parse("ddim"))
    guided_levels = sum(0.3 <= row.at.ratio <= 2 for row in plan.rows)
    assert 0 < guided_levels < 7
    assert evaluations(within, plan) == 7 + guided_levels


def test_a_larger_budget_never_buys_fewer_steps() -> None:
    chosen = [steps_for(lambda n: cost("pndm", "uniform", n), budget) for budget in range(4, 40)]
    assert all(a <= b for a, b in pairwise(chosen))
