"""The figures of a conflict analysis and their intervals, from Gram matrices (PixelAsParam, section
4.3).

For each pair (a, b) of the guidance (cls), denoising (den) and noise (div) parts of a step, over
samples:

* direction: the share of samples with cos φ = ⟨a, b⟩/(‖a‖‖b‖) < 0;
* magnitude: Φ(a, b) = −2‖a‖‖b‖/(‖a‖² + ‖b‖²) (eq. 15), −1 for equal lengths, 0 for very different
  ones;
* the cosine and both norms;
* after the projections of PxP: the share with ⟨â, b⟩ < 0, the first vector projected and the second
  as it was, and with ⟨â, b̂⟩ < 0, both projected.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffdescent.base.csv_text import csv_text
from diffdescent.base.files import make_folder, write_atomically
from diffdescent.core.transforms.projection import Pair

from .figure import draw
from .rows import (
    FIGURES,
    NEGATIVE,
    NOTHING,
    PAIRS,
    SHARES,
    VECTORS,
    Array,
    ConflictRow,
    mean,
    share,
)


@dataclass(frozen=True)
class ConflictTable:
    """The conflicts of a guided sampler.

    ``gram`` is (steps, n, 6, 6): the inner products of (cls, den, div) before and after the
    projections, zero where a part is absent. ``t`` and ``ratio`` (σ/α) are the levels at which the
    steps begin; ``record`` says what was run.
    """

    record: Mapping[str, Any]
    t: Array
    ratio: Array
    gram: Array

    def values(self, pair: Pair) -> dict[str, Array]:
        """Every figure of a pair for each step and sample, (steps, n); NaN where one of the two
        vectors is zero."""
        a, b = (VECTORS.index(v) for v in pair.split("-"))
        first, second = self._norm(a), self._norm(b)
        present = np.where((first > 0) & (second > 0), 1.0, math.nan)
        cosine = self._cosine(a, b)
        return {
            "direction": _below(cosine, 0.0),
            "magnitude": -2 * first * second / (present * (first**2 + second**2)),
            "cosine": cosine,
            "norm_a": first * present,
            "norm_b": second * present,
            "negative_after": _below(self._cosine(a + 3, b), NEGATIVE),
            "both_negative_after": _below(self._cosine(a + 3, b + 3), NEGATIVE),
        }

    def steps(self, pair: Pair) -> list[ConflictRow]:
        """One pair at every step, over samples."""
        values = self.values(pair)
        return [
            ConflictRow(
                i,
                t,
                ratio,
                pair,
                {k: (share if k in SHARES else mean)(values[k][i]) for k in FIGURES},
            )
            for i, (t, ratio) in enumerate(zip(self.t.tolist(), self.ratio.tolist(), strict=True))
        ]

    def overall(self, pair: Pair) -> ConflictRow:
        """One pair over all steps: the mean of each sample's mean over its steps, which are not
        independent."""
        figures = {k: mean(_over_steps(v)) for k, v in self.values(pair).items()}
        for name in SHARES:
            figures[name] = figures[name].clipped(0.0, 1.0) if figures[name].n else NOTHING
        return ConflictRow(-1, math.nan, math.nan, pair, figures)

    def rows(self) -> Iterator[ConflictRow]:
        """Every pair at every step."""
        for pair in PAIRS:
            yield from self.steps(pair)

    def csv(self) -> str:
        """One line a pair and step: every figure, its interval and its number of samples."""
        names = [f"{name}{end}" for name in FIGURES for end in ("", "_low", "_high", "_n")]
        lines: list[list[object]] = [["pair", "step", "t", "sigma_over_alpha", *names]]
        for row in self.rows():
            cells = [
                f"{v:.6g}" for f in row.figures.values() for v in (f.value, f.low, f.high, f.n)
            ]
            lines.append([row.pair, row.step, f"{row.t:g}", f"{row.ratio:.6g}", *cells])
        return csv_text(lines)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """The table and the figure: conflicts.csv and conflicts.png in ``folder``."""
        make_folder(folder)
        table, picture = folder / "conflicts.csv", folder / "conflicts.png"
        write_atomically(table, self.csv().encode())
        draw({pair: self.steps(pair) for pair in PAIRS}, self.record, picture)
        return table, picture

    def _norm(self, a: int) -> Array:
        length: Array = np.sqrt(self.gram[..., a, a])
        return length

    def _cosine(self, a: int, b: int) -> Array:
        return _ratio(self.gram[..., a, b], self._norm(a) * self._norm(b))


def _below(cosine: Array, bound: float) -> Array:
    return np.where(np.isnan(cosine), math.nan, (cosine < bound).astype(np.float64))


def _over_steps(values: Array) -> Array:
    """Each sample's mean over the steps at which it has a value, (n,); NaN where it has none."""
    there = ~np.isnan(values)
    count = there.sum(axis=0).astype(np.float64)
    return _ratio(np.where(there, values, 0.0).sum(axis=0), count)


def _ratio(a: Array, b: Array) -> Array:
    """a/b, NaN where b is zero."""
    quotient: Array = np.divide(a, b, out=np.full(a.shape, math.nan), where=b > 0)
    return quotient
