"""The noise levels of a run: its grid, the part of it that a strength names, the state at its
start."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core import recipe as recipes
from diffdescent.core.grid import Grid, make_grid
from diffdescent.core.noise import INITIAL, normals
from diffdescent.core.process import Process
from diffdescent.core.recipe import Recipe

AnyGrid = Grid | str | Sequence[float] | None
"""A grid, its text, the times of its levels with the end among them, or the recipe's usual one."""


def resolve_grid(grid: AnyGrid, recipe: Recipe, process: Process, steps: int) -> Grid:
    """A grid from text or from its times (``[999, 500, 0]``), or the recipe's default one.

    Raises :class:`UserError` for texts and times that make none, and for a grid of another process.
    """
    if isinstance(grid, Grid):
        if not _same(grid.process, process):
            raise UserError(
                f"The grid is of another process ({type(grid.process).__name__}) than the model's"
                f" ({type(process).__name__}): α and σ differ at the same time; make it with the"
                " model's, dd.grid(text, model.process, steps)."
            )
        return grid
    if grid is not None and not isinstance(grid, str):
        return make_grid("explicit", process, steps, t=_times(grid))
    return recipes.parse_grid(grid or recipes.default_grid(recipe, process), process, steps)


def _same(one: Process, other: Process) -> bool:
    """Whether two processes have the same α and σ at nine times."""
    if one is other:
        return True
    times = np.linspace(other.t_min, other.t_max, 9)
    return bool(np.allclose(one.alpha_sigma(times), other.alpha_sigma(times), rtol=1e-4))


def _times(values: Sequence[float]) -> tuple[float, ...]:
    try:
        return tuple(float(t) for t in values)
    except (TypeError, ValueError):
        raise UserError(
            f"A grid is a text, a Grid or a list of times such as [999, 500, 0], not {values!r}."
        ) from None


def initial_state(noise: Tensor, grid: Grid, init: Tensor | None = None) -> Tensor:
    """The state at the grid's first level: α·init + σ·ε, and without an image the marginal of
    unit-variance data.

    Without ``init`` pure noise of standard deviation σ is right where α ≈ 0; where it is not (a
    start at σ̃ = 40 or 8) √(α² + σ²) is used, the size that a sample of unit variance has there.
    """
    first = grid.points[0]
    if init is None:
        return noise * grid.process.start_scale(first)
    return (init * first.alpha).add_(noise, alpha=first.sigma)


def from_level(grid: Grid, strength: float) -> Grid:
    """The part of a grid at or below the noise level that ``strength`` names: time t_min +
    strength·(t_max − t_min).

    1 keeps the whole grid. Raises :class:`UserError` unless 0 < strength ≤ 1 and a step is left.
    """
    if not 0 < strength <= 1:
        raise UserError(
            f"strength must lie in (0, 1], not {strength}; 1 starts from pure noise, 0.6 keeps the"
            " layout."
        )
    level = grid.process.t_min + strength * (grid.process.t_max - grid.process.t_min)
    start = next((i for i, t in enumerate(grid.t[:-1]) if t <= level + 1e-9), None)
    if start is None:
        raise UserError(
            f"strength={strength} starts at t = {level:.4g}, below every step of this grid "
            f"(the lowest is {grid.t[-2]:.4g}); raise the strength or take more steps."
        )
    return grid.tail(start)


def noise_for(seed: int, samples: Sequence[int], shape: Sequence[int]) -> Tensor:
    """The initial unit noise of given samples, (len(samples), *shape): what :func:`sample` starts
    from."""
    return normals(seed, torch.tensor(list(samples), dtype=torch.int64), shape, INITIAL)
