"""What the error model measured, with its quantiles, its table and its arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diffdescent.base.csv_text import csv_text
from diffdescent.core.process import Array, Point
from diffdescent.run.pieces import Arrays

from .sets import Set

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
        lines: list[list[object]] = [["evaluation", "t", "sigma", "sample", *self.values]]
        for i, point in enumerate(self.points):
            for j, number in enumerate(self.samples):
                cells = [f"{v[i, j]:.8g}" for v in self.values.values()]
                lines.append([i, f"{point.t:.8g}", f"{point.ratio:.8g}", number, *cells])
        return csv_text(lines)

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
