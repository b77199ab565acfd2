"""From a state to runs that are ready, with each mistake at the place where it was made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import Recipe, default_grid, parse, parse_grid
from diffdescent.guidance import apply_guidance, parse_guidance
from diffdescent.run import Run, prepare
from diffdescent.run.arguments import check_numbers, chosen_numbers
from diffdescent.run.budget import evaluations, steps_for

from .state import Lane, State

T = TypeVar("T")
MOST_EVALUATIONS = 1000
"""Of one image; networks of discrete steps know their own limit, which is usually the same."""
MOST_IMAGES = 16


class Mistake(Exception):
    """Bad input: the ``place`` is the control next to which the ``sentence`` is said."""

    def __init__(self, place: str, sentence: str) -> None:
        super().__init__(sentence)
        self.place, self.sentence = place, sentence


@dataclass(frozen=True)
class Setting:
    """What all lanes share: the model, as it is and under its guidance."""

    state: State
    model: Predictor

    @property
    def guidance(self) -> str | None:
        """The guidance's text; None for none."""
        return self.state.guidance.strip() or None

    def guided(self, recipe: Recipe) -> tuple[Predictor, Recipe]:
        """Model and recipe under the guidance."""
        if self.guidance is None:
            return self.model, recipe
        return apply_guidance(self.guidance, self.model, recipe)


def check_shared(setting: Setting) -> None:
    """Raise :class:`Mistake` for what is wrong for every lane: guidance, seed, images."""
    state = setting.state
    at("guidance", lambda: parse_guidance(setting.guidance) if setting.guidance else None)
    at("seed", lambda: check_numbers(1, state.seed, 1.0, 1, None))
    at("sample", lambda: chosen_numbers([state.sample]))
    _check_images(state)
    limit = MOST_EVALUATIONS
    if state.converged and not 4 <= state.converged <= limit:
        raise Mistake(
            "converged",
            f"The converged solution takes 4 to {limit} evaluations, or 0 for none, not"
            f" {state.converged}.",
        )


def _check_images(state: State) -> None:
    if not 1 <= state.images <= MOST_IMAGES:
        raise Mistake(
            "images",
            f"The studio shows 1 to {MOST_IMAGES} images of a recipe, not {state.images}; for more"
            " use diffdescent sample.",
        )


def prepare_lane(setting: Setting, number: int) -> Run:
    """The run of lane ``number`` (from 0). Raises :class:`Mistake` for what is wrong with it."""
    _check_images(setting.state)
    lane, steps = setting.state.lanes[number], steps_of(setting, number)
    recipe = parse(lane.recipe)
    text = lane.grid.strip() or default_grid(recipe, setting.model.process)
    grid = parse_grid(text, setting.model.process, steps)
    place = "label" if setting.state.label else f"recipe{number + 1}"
    return at(place, lambda: _prepared(setting, lane, grid))


def steps_of(setting: Setting, number: int) -> int:
    """The steps that lane ``number`` asks a grid for, which may drop levels that coincide. Raises
    :class:`Mistake` for what is wrong with the lane."""
    state, lane, n = setting.state, setting.state.lanes[number], number + 1
    recipe = at(f"recipe{n}", lambda: parse(lane.recipe))
    guided = at("guidance", lambda: setting.guided(recipe))
    text = lane.grid.strip() or default_grid(recipe, setting.model.process)
    budget = lane.budget or state.budget
    place = f"budget{n}" if lane.budget else "budget"
    _check_size(setting, budget, place)
    at(f"grid{n}", lambda: _grid_alone(text, setting.model))

    def levels(steps: int) -> Grid:
        return parse_grid(text, setting.model.process, steps)

    def cost(steps: int) -> int:
        return evaluations(guided[0], _plan(guided[1], levels(steps)))

    at(place, lambda: check_numbers(budget, 0, 1.0, 1, None))
    steps = budget
    if state.counted == "evaluations":
        steps = at(place, lambda: steps_for(cost, budget))
    grid = at(place, lambda: levels(steps))
    at(f"recipe{n}", lambda: _plan(guided[1], grid))
    return steps


def _prepared(setting: Setting, lane: Lane, grid: Grid) -> Run:
    state = setting.state
    return prepare(
        setting.model,
        lane.recipe,
        guidance=setting.guidance,
        grid=grid,
        samples=range(state.sample, state.sample + state.images),
        seed=state.seed,
        labels=state.label.strip() or None,
        batch_size=MOST_IMAGES,
        name=state.model or None,
    )


def _plan(recipe: Recipe, grid: Grid) -> Plan:
    return recipe.plan(grid)


def _grid_alone(text: str, model: Predictor) -> None:
    """Raise for a grid that is wrong whatever the number of steps is."""
    errors = []
    for steps in (8, 20, 50):
        try:
            parse_grid(text, model.process, steps)
        except UserError as error:
            errors.append(error)
            continue
        return
    raise errors[0]


def _check_size(setting: Setting, budget: int, place: str) -> None:
    """A process of discrete steps refuses too many of them by itself."""
    if setting.model.process.trained_times is None and budget > MOST_EVALUATIONS:
        raise Mistake(
            place,
            f"The studio runs at most {MOST_EVALUATIONS} {setting.state.counted} of an image, not"
            f" {budget}; for more use diffdescent sample.",
        )


def at(place: str, attempt: Callable[[], T]) -> T:
    """What ``attempt()`` gives; its :class:`UserError` becomes a mistake at ``place``."""
    try:
        return attempt()
    except UserError as error:
        raise Mistake(place, str(error)) from None
