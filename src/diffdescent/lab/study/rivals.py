"""The samplers that ``compare`` measures where none is named: fixed recipes on the grids that
suit them, and calibrated samplers that were fitted to the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import Recipe, default_grid, parse, parse_grid
from diffdescent.core.solvers.calibrated import Calibrated
from diffdescent.run.budget import evaluations
from diffdescent.run.calibrate.fixed import usual_grids
from diffdescent.run.calibrate.subject import Subject
from diffdescent.run.chosen import fitted_to
from diffdescent.run.fitted_for import differences

from .cells import NONE

RECIPES = ("ge", "unipc", "unipc(order=3)", "dpmpp(order=2)", "plms", "deis(order=3)")
"""Each the best of a model at some number of evaluations; ``ddim`` is there to be beaten."""
BASE = "ddim"


def rivals(
    model: Predictor, budgets: Sequence[int], guidance: str, labels: str
) -> list[dict[str, Any]]:
    """The blocks of a study: the fixed samplers at all budgets, then at each budget the calibrated
    ones that were fitted for this very run."""
    blocks: list[dict[str, Any]] = [
        {"samplers": [f"{r} @ {g}" for r, g in _fixed(model, max(budgets))], "nfe": list(budgets)}
    ]
    fitted = (
        (budget, list(fitted_samplers(model, budget, guidance, labels))) for budget in budgets
    )
    return blocks + [{"samplers": found, "nfe": [b]} for b, found in fitted if found]


def _fixed(model: Predictor, budget: int) -> list[tuple[str, str]]:
    """Recipes and grids; of grids with the same levels the first one."""
    subject = Subject(model, tuple(model.shape or ()), pick_device("cpu"), 1, lambda _: None)
    found: dict[tuple[str, tuple[float, ...]], tuple[str, str]] = {}
    pairs = [(r, g) for r in RECIPES for g in usual_grids(subject, r)]
    for recipe, grid in [(BASE, default_grid(parse(BASE), model.process)), *pairs]:
        try:
            levels = parse_grid(grid, model.process, budget)
            parse(recipe).plan(levels)
        except UserError:
            continue
        key = (recipe, tuple(levels.ratio.tolist()))
        found.setdefault(key, (recipe, grid))
    return list(found.values())


def fitted_samplers(
    model: Predictor, budget: int, guidance: str = NONE, labels: str = NONE
) -> Iterator[str]:
    """The bundled calibrated samplers of ``budget`` evaluations that were fitted for such a run."""
    under, net = None, model
    if guidance != NONE:
        from diffdescent.guidance import apply_guidance, parse_guidance

        under = str(parse_guidance(guidance).settled(parse(BASE), model.process))
        net, _ = apply_guidance(guidance, model, parse(BASE))
    fewest = -(-budget // info(net).calls)  # an evaluation of it costs from one to all of these
    for count in range(fewest, budget + 1):
        for name, fitted in fitted_to(model, count):
            if differences(fitted, model, under, model.shape or (), labels != NONE):
                continue
            solver = Calibrated(name)
            plan = Recipe(solver).plan(parse_grid(solver.grid, model.process, budget))
            if evaluations(net, plan) == budget:
                yield f"calibrated({name})"
