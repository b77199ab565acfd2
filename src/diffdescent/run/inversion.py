"""Deterministic inversion: from images to the noise that leads to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.calls import check_call
from diffdescent.core.grid import Grid
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import Recipe
from diffdescent.models.adapt import as_model

from .arguments import check_images
from .levels import AnyGrid, resolve_grid
from .preparing import make_recipe
from .result import Result
from .sampling import sample


def invert(
    model: Predictor | str | Callable[..., Any],
    images: Tensor,
    recipe: Recipe | str = "ddim",
    *,
    steps: int = 50,
    grid: AnyGrid = None,
    **options: Any,
) -> Result:
    """Deterministic inversion: the noise from which ``recipe`` leads to ``images`` (B, C, H, W).

    The grid is run backwards from its lowest network level to its highest one. Sampling forwards
    again from ``result.images`` with ``start=`` and ``grid=result.plan.grid.reversed()`` gives the
    images back, up to the method's own error. Options are those of :func:`sample`.

    Args:
        model: as in :func:`sample`.
        images: (B, C, H, W) in the model's range.
        recipe: a deterministic recipe or its text.
        steps: steps of the grid.
        grid: a grid or its text; None takes the recipe's usual one.
        **options: others of :func:`sample`: labels, guidance, batch_size, micro_batch, device,
            dtype.

    Returns:
        A :class:`Result` whose ``images`` are the states (B, C, H, W) at the highest noise level.

    Raises:
        UserError: a stochastic recipe.
    """
    check_call(invert, locals())
    check_images("images", images)
    net = as_model(model, options.get("device"))
    chosen = make_recipe(recipe, steps)
    used = resolve_grid(grid, chosen, net.process, steps)
    if used.sigma[-1] == 0:
        # The network was never asked at σ = 0; the lowest level it knows takes the place of the
        # end.
        used = _ending_at_first(used)
    backwards = used.reversed()
    if chosen.plan(used).stochastic:
        raise UserError(
            f"{chosen} is stochastic and cannot be inverted; use a deterministic sampler such as"
            " ddim."
        )
    x = images * float(backwards.alpha[0])
    return sample(net, chosen, grid=backwards, start=x, n=len(images), **options)


def _ending_at_first(grid: Grid) -> Grid:
    first = grid.process.point(grid.process.t_min)
    last = grid.steps if grid.ratio[-2] > first.ratio * (1 + 1e-9) else grid.steps - 1
    pairs = zip((grid.t, grid.alpha, grid.sigma), first, strict=True)
    t, alpha, sigma = (np.append(column[:last], value) for column, value in pairs)
    return Grid(grid.process, t, alpha, sigma, grid.name, grid.notes)
