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

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.noise import normals
from diffdescent.core.predict import Predictor
from diffdescent.core.process import Array, Point
from diffdescent.core.recipe import Recipe
from diffdescent.run import Callback, Progress, make_recipe, resolve_grid, sample
from diffdescent.run.pieces import Arrays, Pieces, levels_of, model_identity

from .distance import Projection, Set, gradient, identity

QUANTITIES: dict[str, str] = {
    "dist": "distance to the set, in x/α",
    "eta": "relative error η = |x̂0 − proj(x)|/dist(x)",
    "nu": "ν = √n σ/dist",
    "norm": "|ε|/√n",
    "turn": "change of ∇dist since the evaluation before",
    "eta_released": "the same error with proj of the next x (the released pairing)",
    "nu_released": "√n σ/dist of the next x (the released pairing)",
}
"""What is measured of each evaluation and sample."""


@dataclass(frozen=True)
class Errors:
    """What :class:`ErrorModel` measured: for each name in :data:`QUANTITIES` an array (evaluations,
    samples).

    NaN where there is no value: ``turn`` at the first evaluation, the released pairing at the last,
    and everything at σ/α = ∞. ``size`` is n; ``dimension`` and ``diameter`` are the set's.
    """

    points: tuple[Point, ...]
    samples: tuple[int, ...]
    values: dict[str, Array]
    size: int
    dimension: float | None
    diameter: float

    @property
    def ratios(self) -> Array:
        """σ/α of each evaluation."""
        return np.array([p.ratio for p in self.points])

    def quantile(self, name: str, q: float) -> Array:
        """Over the samples, at each evaluation; NaN where there is no value."""
        values = self.values[name]
        out = np.full(len(values), np.nan)
        known = ~np.isnan(values).all(axis=1)
        out[known] = np.nanquantile(values[known], q, axis=1)
        return out

    def holds_with(self, share: float) -> tuple[float, float]:
        """The η and ν within which ``share`` of all evaluations lie, each on its own; ν bounds both
        ν and 1/ν."""
        eta, nu = (self.values[k][np.isfinite(self.values[k])] for k in ("eta", "nu"))
        return float(np.quantile(eta, share)), float(np.quantile(np.maximum(nu, 1 / nu), share))

    @property
    def far_bound(self) -> Array:
        """diam(K)/dist of each state, which bounds η of any prediction in the hull of K (high
        noise)."""
        return np.asarray(self.diameter / self.values["dist"])

    @property
    def near_error(self) -> Array | None:
        """‖x̂0 − proj‖/(σ̃√d): about 1 where denoising projects (low noise). None without a known d
        > 0."""
        if not self.dimension:
            return None
        return np.asarray(
            self.values["eta"]
            * self.values["dist"]
            / (self.ratios[:, None] * math.sqrt(self.dimension))
        )

    def summary(self) -> list[dict[str, Any]]:
        """One entry an evaluation: t, σ/α, and 5 %, 50 % and 95 % quantiles of everything.
        JSON-safe."""
        extra = {"diam_over_dist": self.far_bound}
        if self.near_error is not None:
            extra["error_over_sigma_root_d"] = self.near_error
        rows = []
        for i, point in enumerate(self.points):
            row: dict[str, Any] = {"evaluation": i, "t": point.t, "sigma": _json(point.ratio)}
            for name, values in {**self.values, **extra}.items():
                found = values[i][np.isfinite(values[i])]
                row[name] = (
                    [float(q) for q in np.quantile(found, (0.05, 0.5, 0.95))]
                    if len(found)
                    else None
                )
            rows.append(row)
        return rows

    def csv(self) -> str:
        """A line for each evaluation and sample."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["evaluation", "t", "sigma", "sample", *self.values])
        for i, point in enumerate(self.points):
            for j, number in enumerate(self.samples):
                cells = [f"{v[i, j]:.8g}" for v in self.values.values()]
                writer.writerow([i, f"{point.t:.8g}", f"{point.ratio:.8g}", number, *cells])
        return out.getvalue()

    def arrays(self) -> Arrays:
        """What was measured, as arrays to be written; the set's own figures are left out."""
        points, samples = (
            np.array(self.points, dtype=np.float64),
            np.array(self.samples, dtype=np.int64),
        )
        return {"points": points, "samples": samples, **self.values}


def joined(parts: Sequence[Arrays], k: Set) -> Errors:
    """The measurements of several ranges of samples against ``k`` as one."""
    points = tuple(Point(*map(float, row)) for row in parts[0]["points"])
    samples = tuple(int(i) for part in parts for i in part["samples"])
    values = {name: np.concatenate([part[name] for part in parts], axis=1) for name in QUANTITIES}
    return Errors(points, samples, values, math.prod(k.shape), k.dimension, k.diameter)


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None


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
        """Everything measured so far. Raises :class:`UserError` when there was no evaluation."""
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

    Raises :class:`UserError` for a number below 1.
    """
    if n < 1 or batch_size < 1:
        raise UserError(
            f"Trajectories and batches must be at least 1, not n={n} and batch_size={batch_size}."
        )
    batches = [range(first, min(first + batch_size, n)) for first in range(0, n, batch_size)]

    def measured(number: int, batch: range) -> Arrays:
        def told(at: Progress) -> None:
            if callback is not None:
                callback(replace(at, batch=number, batches=len(batches)))

        return run(batch, told).arrays()

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
    cache: Path | None = None,
    callback: Callback | None = None,
    **options: Any,
) -> Errors:
    """Sample from ``model`` and measure every evaluation against ``k``; ``options`` are those of
    ``sample``.

    The update runs in float64 unless ``dtype`` says otherwise. With a folder ``cache`` each batch
    of ``batch_size`` trajectories is written there, and a run that was killed goes on after the
    last whole one; the options may then be steps, grid, n, seed, batch_size, device, dtype, and as
    labels one for all.

    Raises :class:`UserError` where the set is of another shape than the model's samples, and for
    other options of a run that is kept.
    """
    if model.shape is not None and tuple(model.shape) != tuple(k.shape):
        raise UserError(
            f"The model's samples have shape {tuple(model.shape)}, but the set's points"
            f" {tuple(k.shape)}."
        )
    options = {"dtype": torch.float64, **options}

    def run(told: Callback | None, **which: Any) -> Errors:
        probe = ErrorModel(k)

        def both(at: Progress) -> None:
            probe(at)
            if told is not None:
                told(at)

        sample(model, recipe, callback=both, **which)
        return probe.result()

    if cache is None:
        return run(callback, **options)
    settings = _settings(model, k, recipe, options)
    n, batch_size = options.get("n", 1), options.get("batch_size", 64)
    rest = {name: value for name, value in options.items() if name not in ("n", "batch_size")}

    def batch_of(batch: range, told: Callback) -> Errors:
        return run(told, **rest, samples=batch, batch_size=len(batch))

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
        "recipe": str(chain),
        "grid": levels_of(resolve_grid(options.get("grid"), chain, model.process, steps)),
        "seed": options.get("seed", 0),
        "label": label,
        "dtype": str(options["dtype"]),
        "device": str(options.get("device", "cpu")),
    }


@dataclass(frozen=True)
class Noised:
    """Images of a set noised to several σ̃, projected back: (levels, images) arrays.

    ``error`` is ‖proj(x_0 + σ̃ε) − x_0‖, ``distance`` dist(x_0 + σ̃ε); ``size`` is n, ``dimension``
    and ``reach`` the set's.
    """

    sigmas: Array
    error: Array
    distance: Array
    size: int
    dimension: float | None
    reach: float


def noised_projection(k: Set, images: Tensor, sigmas: Sequence[float], *, seed: int = 0) -> Noised:
    """Statement 5 of the theory measured: for reach(K) ≳ σ̃√n the projection of x_0 + σ̃ε lies
    within about σ̃√d of x_0.

    ``images`` (B, *shape) must lie on the set. The same noise is scaled for all levels.
    """
    x0 = images.to(torch.float64)
    which = torch.arange(len(x0), device=x0.device)
    noise = normals(seed, which, x0.shape[1:], 0, dtype=torch.float64)
    errors, distances = [], []
    for sigma in sigmas:
        found = k.project(x0 + sigma * noise)
        errors.append((found.nearest - x0).flatten(1).norm(dim=1))
        distances.append(found.distance)
    error, distance = (torch.stack(parts).cpu().numpy() for parts in (errors, distances))
    levels = np.asarray(sigmas, dtype=np.float64)
    return Noised(levels, error, distance, math.prod(k.shape), k.dimension, k.reach)
