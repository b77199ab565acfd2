"""The relative error model, measured along a sampler's own trajectories (arXiv 2306.04848,
assumption 1 and figure 3).

At each evaluation, in the coordinates x̃ = x/α, σ̃ = σ/α, with f = ½dist² of a set K in n
dimensions:

* η = ‖σ̃ε − ∇f‖/dist = ‖x̂0 − proj(x̃)‖/dist(x̃), the relative error,
* ν = √n σ̃/dist(x̃), whether σ̃ tells the distance (1: exactly),
* norm = ‖ε‖/√n, which training makes 1 on average,
* turn = ‖∇dist(x̃_t) − ∇dist(x̃_{t−1})‖, 0 while the gradient is constant: what gradient estimation
  relies on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.core.process import Point
from diffdescent.core.recipe import Recipe
from diffdescent.run import Callback, Progress, make_recipe, micro_batch_width, resolve_grid, sample
from diffdescent.run.pieces import Arrays, Pieces, Shelf, levels_of, model_identity, recipe_identity

from .errors import QUANTITIES, Errors, joined
from .sets import Projection, Set, gradient, identity


@dataclass
class ErrorModel:
    """A callback for :func:`diffdescent.run` that measures every evaluation against the set ``k``.

    ``project`` gives the projection of x̃ where it is known already (the nearest image that an
    exact denoiser has just found); by default the set is asked. Numbers stay on the device until
    :meth:`result`.
    """

    k: Set
    project: Callable[[Tensor, Progress], Projection] | None = None
    _points: dict[int, Point] = field(default_factory=dict)
    _rows: dict[str, dict[int, list[Tensor]]] = field(
        default_factory=lambda: {name: {} for name in QUANTITIES}
    )
    _samples: list[int] = field(default_factory=list)
    _before: tuple[Tensor, Tensor, float] | None = None

    def __call__(self, at: Progress) -> None:
        if at.index == 0:
            self._samples += at.samples
            self._before = None
        self._points[at.index] = at.at
        if math.isinf(at.at.ratio):
            nothing = torch.full((len(at.x),), math.nan, dtype=torch.float64, device=at.x.device)
            for name in QUANTITIES:
                self._keep(name, at.index, nothing)
            return
        x = at.x.to(torch.float64) / at.at.alpha
        x0 = at.x0.to(torch.float64).flatten(1)
        found = self.k.project(x) if self.project is None else self.project(x, at)
        nearest, dist = found.nearest.flatten(1), found.distance
        sigma, root = at.at.ratio, math.sqrt(x0.shape[1])
        unit = gradient(found, x).flatten(1)
        self._keep("dist", at.index, dist)
        self._keep("eta", at.index, (x0 - nearest).norm(dim=1) / dist)
        self._keep("nu", at.index, root * sigma / dist)
        self._keep(
            "norm",
            at.index,
            (x.flatten(1) - x0).norm(dim=1) / (sigma * root) if sigma else dist * math.nan,
        )
        if self._before is not None:
            unit_before, x0_before, sigma_before = self._before
            self._keep("turn", at.index, (unit - unit_before).norm(dim=1))
            self._keep("eta_released", at.index - 1, (x0_before - nearest).norm(dim=1) / dist)
            self._keep("nu_released", at.index - 1, root * sigma_before / dist)
        self._before = (unit, x0, sigma)

    def _keep(self, name: str, index: int, values: Tensor) -> None:
        self._rows[name].setdefault(index, []).append(values)

    def result(self) -> Errors:
        """Everything measured so far.

        Raises:
            UserError: when there was no evaluation.
        """
        if not self._points:
            raise UserError("Nothing was measured; pass the error model as callback= of sample.")
        values = {}
        for name, rows in self._rows.items():
            table = np.full((len(self._points), len(self._samples)), np.nan)
            for index, parts in rows.items():
                row = torch.cat(parts).cpu().numpy()
                table[index, : len(row)] = row
            values[name] = table
        size = math.prod(self.k.shape)
        points = tuple(self._points[i] for i in sorted(self._points))
        return Errors(points, tuple(self._samples), values, size, self.k.dimension, self.k.diameter)


def in_pieces(
    pieces: Pieces,
    settings: Mapping[str, Any],
    k: Set,
    n: int,
    batch_size: int,
    run: Callable[[range, Callback], Errors],
    callback: Callback | None = None,
) -> Errors:
    """``run`` for the samples 0 … n − 1, ``batch_size`` at a time, each batch a piece; the callback
    counts batches.

    Raises:
        UserError: a number below 1.
    """
    if n < 1 or batch_size < 1:
        raise UserError(
            f"Trajectories and batches must be at least 1, not n={n} and batch_size={batch_size}."
        )
    batches = [range(first, min(first + batch_size, n)) for first in range(0, n, batch_size)]

    def measured(number: int, batch: range) -> Arrays:
        def notify(at: Progress) -> None:
            if callback is not None:
                callback(replace(at, batch=number, batches=len(batches)))

        return run(batch, notify).arrays()

    found = []
    for number, batch in enumerate(batches):
        key = {**settings, "first": batch.start, "last": batch[-1]}
        found.append(pieces.get("errors", key, partial(measured, number, batch)))
    return joined(found, k)


def measure(
    model: Predictor,
    k: Set,
    recipe: Recipe | str = "ddim",
    *,
    cache: Path | Shelf | None = None,
    callback: Callback | None = None,
    **options: Any,
) -> Errors:
    """Sample from ``model`` and measure every evaluation against ``k``; ``options`` are those of
    ``sample``.

    The update runs in float64 unless ``dtype`` says otherwise. With a folder ``cache`` each batch
    of ``batch_size`` trajectories is written there, and a run that was killed goes on after the
    last whole one; the options may then be steps, grid, n, seed, batch_size, device, dtype, and as
    labels one for all.

    Args:
        model: as in :func:`diffdescent.sample`.
        k: the set that the data lie on.
        recipe: a recipe or its text.
        cache: a folder in which each batch of trajectories is kept; None keeps nothing.
        callback: called after each evaluation.
        **options: those of :func:`diffdescent.sample`; with ``cache`` steps, grid, n, seed,
            batch_size, device, dtype, and as labels one for all.

    Returns:
        The :class:`Errors` of every evaluation: distances, η and ν.

    Raises:
        UserError: where the set is of another shape than the model's samples, and other options of
            a run that is kept.
    """
    if model.shape is not None and tuple(model.shape) != tuple(k.shape):
        raise UserError(
            f"The model's samples have shape {tuple(model.shape)}, but the set's points"
            f" {tuple(k.shape)}."
        )
    options = {"dtype": torch.float64, **options}
    # One width for all pieces, however few trajectories the last one has.
    device = options.get("device")
    where = pick_device(info(model).device if device is None else device)
    width = options.pop("micro_batch", None) or micro_batch_width(model, where)

    def run(notify: Callback | None, **which: Any) -> Errors:
        probe = ErrorModel(k)

        def both(at: Progress) -> None:
            probe(at)
            if notify is not None:
                notify(at)

        sample(model, recipe, callback=both, progress=False, micro_batch=width, **which)
        return probe.result()

    if cache is None:
        return run(callback, **options)
    settings = _settings(model, k, recipe, options)
    n, batch_size = options.get("n", 1), options.get("batch_size", 64)
    rest = {name: value for name, value in options.items() if name not in ("n", "batch_size")}

    def batch_of(batch: range, notify: Callback) -> Errors:
        return run(notify, **rest, samples=batch, batch_size=len(batch))

    return in_pieces(Pieces(cache), settings, k, n, batch_size, batch_of, callback)


_KEPT = ("steps", "grid", "n", "seed", "labels", "batch_size", "device", "dtype")


def _settings(
    model: Predictor, k: Set, recipe: Recipe | str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """All that the measurement of one trajectory depends on, as JSON."""
    odd = sorted(set(options) - set(_KEPT))
    label = options.get("labels")
    if label is not None and not isinstance(label, int):
        raise UserError(
            f"A measurement that is kept takes one label for all trajectories, not {label!r}."
        )
    if odd:
        raise UserError(
            f"A measurement that is kept takes the options {', '.join(_KEPT)}, not"
            f" {', '.join(odd)}."
        )
    steps = options.get("steps", 20)
    chain = make_recipe(recipe, steps)
    return {
        "model": model_identity(model),
        "set": identity(k),
        "recipe": recipe_identity(chain),
        "grid": levels_of(resolve_grid(options.get("grid"), chain, model.process, steps)),
        "seed": options.get("seed", 0),
        "label": label,
        "dtype": str(options["dtype"]),
        "device": str(options.get("device", "cpu")),
    }
