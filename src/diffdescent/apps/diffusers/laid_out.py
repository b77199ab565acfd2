"""What ``set_timesteps`` lays out, and the plan of a run that begins somewhere in it."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid
from diffdescent.core.plan import Plan
from diffdescent.core.recipe import Recipe
from diffdescent.core.solvers.adams import PLMS
from diffdescent.core.solvers.ddim import DDIM
from diffdescent.core.solvers.pndm import PNDM
from diffdescent.core.transforms import Threshold

from .quirks import unjoined


def evaluations(plan: Plan) -> list[int]:
    """How many evaluations each step of a plan has."""
    return [int(count) for count in np.bincount([row.step for row in plan.rows])]


def order_of(plan: Plan) -> int:
    """Evaluations in a step as pipelines count them: where all steps but the last have as many,
    and the last no more; else 1."""
    counts = evaluations(plan)
    whole = set(counts[:-1] or counts)
    return counts[0] if len(whole) == 1 and counts[-1] <= counts[0] else 1


@dataclass(frozen=True)
class LaidOut:
    """A recipe on the levels of a run. ``stride``: where diffusers' steps do not meet, see
    :func:`~.quirks.stride`."""

    recipe: Recipe
    grid: Grid
    stride: int | None = None
    plan: Plan = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plan", self._plan_of(self.recipe, self.grid))

    def begins(self, index: int) -> bool:
        """Whether a step begins at this evaluation."""
        rows = self.plan.rows
        return index == 0 or (index < len(rows) and rows[index].step != rows[index - 1].step)

    def step_from(self, index: int) -> int:
        """Where the step begins that a run begun at evaluation ``index`` takes first: there, or at
        the next evaluation where pipelines count evaluations (``order`` 1) and that is of the same
        level.

        Raises :class:`UserError` inside a step.
        """
        rows = self.plan.rows
        if self.begins(index):
            return index
        if (
            order_of(self.plan) == 1
            and self.begins(index + 1)
            and rows[index + 1].at == rows[index].at
        ):
            return index + 1
        first = max(i for i in range(index) if self.begins(i))
        raise UserError(
            f"A run cannot begin at timestep {index}, inside the step that begins at {first}:"
            f" {self.recipe} takes several evaluations there; begin at another one (a slightly"
            " different strength)."
        )

    def tail(self, recipe: Recipe, begin: int) -> Plan:
        """The plan of the levels from evaluation ``begin`` on: start-up rows come first in it,
        too."""
        rows, grid = self.plan.rows, self.grid
        if begin == 0 and recipe is self.recipe:
            return self.plan
        level = self._level(begin)
        left = [row.at.t for row in rows[begin:]]
        for tried in (recipe, _without_start(recipe)):
            plan = self._plan_of(tried, grid.tail(level) if level else grid)
            if [row.at.t for row in plan.rows] == left:
                return plan
        raise UserError(
            f"{recipe} begun at timestep {begin} would take {plan.nfe} evaluations, not the"
            f" {len(left)} that are left; use a recipe of one evaluation a step for image to image,"
            " such as unipc or dpmpp."
        )

    def _plan_of(self, recipe: Recipe, grid: Grid) -> Plan:
        plan = recipe.plan(grid)
        return plan if self.stride is None or plan.stochastic else unjoined(plan, self.stride)

    def _level(self, begin: int) -> int:
        """The index in the grid of the level at which evaluation ``begin`` starts a step."""
        rows, points = self.plan.rows, self.grid.points
        if rows[begin].at in points:
            return points.index(rows[begin].at)
        # Churn has raised it: the step began where the one before was committed.
        return (
            points.index(next(o.point for o in reversed(rows[begin - 1].outputs) if o.commit))
            if begin
            else 0
        )


def asked(recipe: Recipe, eta: float, clipped: bool) -> Recipe:
    """The recipe with what a pipeline passes to ``step``."""
    if eta and isinstance(recipe.solver, DDIM):
        noisy: Any = DDIM(float(eta))
        recipe = dataclasses.replace(recipe, solver=noisy)
    elif eta:
        warnings.warn(f"eta={eta} means the eta of ddim; {recipe} does not take it.", stacklevel=4)
    if not clipped:
        return recipe
    follow = [
        dataclasses.replace(t, eps="recompute") if isinstance(t, Threshold) else t
        for t in recipe.transforms
    ]
    return dataclasses.replace(recipe, transforms=tuple(follow))


def _without_start(recipe: Recipe) -> Recipe:
    """The recipe with one evaluation a step where its method starts with more: its history grows
    from order one."""
    if not isinstance(recipe.solver, (PNDM, PLMS)):
        return recipe
    plain: Any = PLMS("ramp", recipe.solver.order)
    return dataclasses.replace(recipe, solver=plain)
