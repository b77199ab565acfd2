"""The ideal denoiser of a data set, measured on its own trajectories (the experiment of arXiv
2306.04848, figure 3).

The denoiser is exact, the set is the data themselves, so what is left of the error is that of the
model "denoising is projection" alone. One pass over the set gives the denoiser's answer and the
nearest image together.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.process import Point
from diffdescent.core.recipe import parse, parse_grid
from diffdescent.models.dataset import Dataset
from diffdescent.models.exact import ExactKind
from diffdescent.run import Callback, Progress, sample
from diffdescent.run.pieces import Pieces, Shelf, levels_of, recipe_identity

from .error_model import ErrorModel, in_pieces
from .errors import Errors
from .sets import Points, Projection

GRID = "uniform(spacing=trailing, end=first)"
"""The 50 DDPM levels of the experiment: uniform in time from the noisiest one, ending at the
first."""


class _Tracking(Dataset):
    """A data set that remembers which image was nearest in its last evaluation."""

    nearest: Tensor

    def evaluate(self, x: Tensor, point: Point, kind: ExactKind, cond: Tensor | None) -> Tensor:
        result = self._scan(x, point, cond)
        self.nearest = result.nearest
        return result.moment / result.mass[:, None]


def measure_ideal(
    data: Dataset,
    recipe: str = "ddim",
    *,
    steps: int = 50,
    grid: str = GRID,
    n: int = 500,
    seed: int = 0,
    batch_size: int = 100,
    intrinsic: float | None = None,
    cache: Path | Shelf | None = None,
    callback: Callback | None = None,
) -> Errors:
    """The error model of ``data``'s exact denoiser along ``n`` trajectories, for both pairings of
    time.

    ``intrinsic`` is the dimension of the manifold behind the data, where one was estimated.
    ``batch_size`` trajectories run at a time; with a folder ``cache`` each such batch is written
    there, and a run that was killed goes on after the last whole one.

    Costs two products of (batch × n) with the whole set for each evaluation: for 50 steps, 500
    trajectories and the 50,000 images of CIFAR-10 1.5e13 operations in float64.
    """
    if len(data.images) < 2:
        raise UserError(
            "The exact denoiser of a single image is that image, so there is nothing to measure;"
            " give a set of at least 2 images."
        )
    model = _Tracking(
        data.images, data.process, chunk=data.chunk, name=data.name, device=data.device
    )
    points, width = Points(model, intrinsic=intrinsic), min(batch_size, n)
    chain, levels = parse(recipe), parse_grid(grid, data.process, steps)

    def project(x: Tensor, at: Progress) -> Projection:
        nearest = model.values(model.nearest[: len(x)])
        return Projection((x - nearest).flatten(1).norm(dim=1), nearest)

    def run(batch: range, notify: Callback) -> Errors:
        probe = ErrorModel(points, project)

        def both(at: Progress) -> None:
            probe(at)
            notify(at)

        sample(
            model,
            chain,
            grid=levels,
            samples=batch,
            seed=seed,
            batch_size=width,
            micro_batch=width,
            dtype=torch.float64,
            callback=both,
            progress=False,
        )
        return probe.result()

    settings = {
        "set": "" if cache is None else model.fingerprint(),
        "recipe": recipe_identity(chain),
        "grid": levels_of(levels),
        "seed": seed,
        "width": width,
    }
    return in_pieces(Pieces(cache), settings, points, n, batch_size, run, callback)
