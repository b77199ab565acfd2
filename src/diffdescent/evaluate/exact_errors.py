"""Scores on exact models, where the truth is known: the distances of :mod:`.wasserstein` to the
exact solutions, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from . import wasserstein
from .features import JSON
from .half_sampling import LEAST, check_resamples, halves, interval
from .scored import Score, how, scored

EXACT = {
    "rmse": "RMSE to the exact solution",
    "swd": "Sliced Wasserstein distance to the exact solutions",
}
"""Distances to the exact solution from the same noise, with their titles; only exact models have
them."""


def score_exact(
    images: Tensor, exact: Tensor, *, seed: int = 0, resamples: int = 200, directions: int = 256
) -> list[Score]:
    """On exact models: :func:`rmse_score` and :func:`swd_score` of ``images`` (n, …) by the exact
    solutions ``exact`` (n, …) from the same noise
    (:func:`diffdescent.models.flowmap.exact_solution`).

    Both in pixel units. RMSE judges the path of each image, the sliced Wasserstein distance only
    where all of them end up.

    Args:
        images: (n, …), by a sampler.
        exact: (n, …), the exact solutions from the same noise.
        seed: keys directions and halves.
        resamples: how many halves; 0: no intervals.
        directions: of the sliced Wasserstein distance.

    Returns:
        Two scores: "rmse" and "swd".

    Raises:
        UserError: different shapes.
    """
    errors = wasserstein.squared_errors(images, exact)
    f, g = wasserstein.projections(images, exact, directions, seed)
    return [
        rmse_score(errors, seed=seed, resamples=resamples),
        swd_score(f, g, seed=seed, resamples=resamples),
    ]


def rmse_score(squared_errors: Tensor, *, seed: int = 0, resamples: int = 200) -> Score:
    """ "rmse", the root of the mean of ``squared_errors`` (n,), one of each image, to the exact
    solution.

    Args:
        squared_errors: the mean square of each image's error, (n,).
        seed: keys the resampled halves.
        resamples: how many; 0: no interval.

    Returns:
        The score with its interval.
    """
    errors = squared_errors.double()
    return _exact(
        "rmse", len(errors), lambda mask: float(errors[mask].mean().sqrt()), {}, seed, resamples
    )


def swd_score(f: Tensor, g: Tensor, *, seed: int = 0, resamples: int = 200) -> Score:
    """ "swd", the sliced Wasserstein distance (p = 2) by the projections (n, directions) of the
    images and (m, directions) of the exact solutions on the same directions.

    Args:
        f: projections of the images, (n, directions).
        g: projections of the exact solutions, (m, directions).
        seed: keys the resampled halves.
        resamples: how many; 0: no interval.

    Returns:
        The score with its interval.
    """
    options = {"directions": f.shape[1], "p": 2, "seed": seed}
    return _exact(
        "swd", len(f), lambda mask: wasserstein.distance_along(f[mask], g), options, seed, resamples
    )


def _exact(
    name: str,
    n: int,
    of: Callable[[Tensor], float],
    options: dict[str, JSON],
    seed: int,
    resamples: int,
) -> Score:
    check_resamples(resamples)
    value = of(torch.ones(n, dtype=torch.bool))
    protocol: dict[str, JSON] = {
        "metric": name,
        "against": "exact solutions from the same noise",
        **options,
    }
    if resamples < 1 or n < LEAST:
        return scored(name, value, n, protocol, None)
    masks = halves(n, resamples, seed)
    found = interval(
        value, torch.tensor([of(mask) for mask in masks], dtype=torch.float64), n, (0.0, math.inf)
    )
    protocol["interval"] = how(masks, seed)
    return scored(name, value, n, protocol, found)
