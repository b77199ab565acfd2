"""What a scheduler says of the run that is laid out: recipe, grid, levels, evaluations."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid
from diffdescent.core.recipe import Recipe

from .config import Config, is_flow
from .laid_out import LaidOut, evaluations, order_of
from .layout import initial_scale, lay_out


class RunLevels:
    """The part of a scheduler that shows its recipe and the levels of the run."""

    config: Config
    _recipe: Recipe
    _laid: LaidOut | None

    @property
    def recipe(self) -> Recipe:
        """What is run: the recipe with what the config adds to it. Its text does the same outside
        diffusers."""
        return self._recipe

    @property
    def grid(self) -> Grid | None:
        """The levels of the run, after ``set_timesteps``."""
        return None if self._laid is None else self._laid.grid

    @property
    def order(self) -> int:
        """Evaluations in a step, where all but the last have as many; else 1 (see
        :attr:`evaluations`)."""
        if self._laid is not None:
            return order_of(self._laid.plan)
        return order_of(self._recipe.plan(lay_out(self.config, self._recipe, 8, mu=1.0)))

    @property
    def evaluations(self) -> list[int]:
        """How many of the ``timesteps`` belong to each step; of another number at PNDM's start
        and Heun's end."""
        return evaluations(self._known().plan)

    @property
    def init_noise_sigma(self) -> float:
        """What pipelines multiply unit noise by."""
        return initial_scale(self.config, self._recipe, self.grid)

    @property
    def sigmas(self) -> Tensor:
        """σ̃ = σ/α (a flow's σ) where each timestep evaluates, and the end; on the CPU."""
        laid = self._laid
        if laid is None:
            raise UserError("The levels are known after set_timesteps; call it first.")
        points = [*(row.at for row in laid.plan.rows), laid.grid.points[-1]]
        flow = is_flow(self.config)
        return torch.tensor([p.sigma if flow else p.ratio for p in points], dtype=torch.float32)

    def _known(self) -> LaidOut:
        if self._laid is None:
            raise UserError("No levels are laid out yet; call set_timesteps before step.")
        return self._laid


def warn_of_notes(grid: Grid, steps: int) -> None:
    """Warn, for whoever called ``set_timesteps``, where ``grid`` has fewer steps than the ``steps``
    that were asked for: levels that coincide are left out, and a calibrated sampler has its own."""
    if grid.steps < steps:
        why = "; ".join(grid.notes) or "its levels are given, as a calibrated sampler's are"
        warnings.warn(
            f"The grid {grid.name!r} has {grid.steps} steps where {steps} were asked for: {why}.",
            stacklevel=3,
        )
