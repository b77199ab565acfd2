"""The study's table: a row for each point, compared figure by figure with the teachers and with
its own sampler.

Two points of the study start from the same noise, so that their figures come in pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from diffdescent.base.csv_text import csv_text
from diffdescent.base.files import write_atomically
from diffdescent.base.statistics import Estimate, Share, paired_difference, sign_test, wilson

from .points import BASE, TEACHER, Point
from .study import Outcome

Reference = Literal["teacher", "ancestral", "base"]
REFERENCES: dict[Reference, str] = {
    "teacher": "the DDIM teacher",
    "ancestral": "the ancestral teacher",
    "base": "the sampler it is added to",
}
"""What a point is compared with; ``base`` is :attr:`Point.base`."""


@dataclass(frozen=True)
class Discordant:
    """A yes–no answer about the same ``n`` samples under two points: how often yes only here, and
    only there."""

    here: int
    there: int
    n: int

    @property
    def p(self) -> float:
        """McNemar's exact two-sided test."""
        return sign_test(self.here, self.there)

    @property
    def difference(self) -> Estimate:
        """Share here − share there, with its 95 % interval."""
        return paired_difference(self.here, self.there, self.n)


@dataclass(frozen=True)
class Paired:
    """Two points compared: on peculiar figures, and on abnormal ones (peculiar or unreadable)."""

    peculiar: Discordant
    abnormal: Discordant


@dataclass(frozen=True)
class Row:
    """One line of the study's table: shares of all n figures, and comparisons with what there is of
    the references."""

    point: Point
    n: int
    peculiar: Share
    unreadable: Share
    abnormal: Share
    other: Share
    against: dict[Reference, Paired]


def paired(this: Outcome, other: Outcome) -> Paired:
    """Compare two points on the samples that both have."""
    n = min(len(this.readings), len(other.readings))
    return Paired(
        _discordant(this.peculiar[:n], other.peculiar[:n]),
        _discordant(this.abnormal[:n], other.abnormal[:n]),
    )


def _discordant(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> Discordant:
    return Discordant(int((a & ~b).sum()), int((b & ~a).sum()), len(a))


def table(found: Sequence[Outcome], teacher: int = TEACHER) -> list[Row]:
    """A row for each point; one that has no partner, or is its own, goes without that
    comparison."""
    known = {o.point: o for o in found}
    rows = []
    for outcome in sorted(found, key=lambda o: (o.point.grid, o.point.recipe, o.point.steps)):
        point, n = outcome.point, len(outcome.readings)
        partners: dict[Reference, Point] = {
            "teacher": Point(BASE, teacher), "ancestral": Point("ddpm", teacher), "base": point.base
        }  # fmt: skip
        against = {
            name: paired(outcome, known[p])
            for name, p in partners.items()
            if p != point and p in known
        }
        rows.append(
            Row(
                point,
                n,
                wilson(int(outcome.peculiar.sum()), n),
                wilson(int((~outcome.readings.readable).sum()), n),
                wilson(int(outcome.abnormal.sum()), n),
                wilson(int(outcome.other.sum()), n),
                against,
            )
        )
    return rows


def write_table(rows: Sequence[Row], path: Path) -> None:
    """The rows as CSV: shares with 95 % intervals (Wilson), and the paired comparisons."""
    names = ("only_here", "only_there", "difference", "low", "high", "p")
    columns = [
        f"{ref}_{what}{x}" for ref in REFERENCES for what in ("", "abnormal_") for x in names
    ]
    table: list[Sequence[object]] = [
        (
            "recipe",
            "grid",
            "steps",
            "n",
            "peculiar",
            "share",
            "low",
            "high",
            "unreadable",
            "abnormal",
            "other_species",
            *columns,
        )
    ]
    for row in rows:
        p = row.peculiar
        cells = [cell for ref in REFERENCES for cell in _cells(row.against.get(ref))]
        table.append(
            (
                row.point.recipe,
                row.point.grid,
                row.point.steps,
                row.n,
                p.count,
                f"{p.value:.4f}",
                f"{p.low:.4f}",
                f"{p.high:.4f}",
                row.unreadable.count,
                row.abnormal.count,
                row.other.count,
                *cells,
            )
        )
    write_atomically(path, csv_text(table).encode())


def _cells(pair: Paired | None) -> list[str]:
    if pair is None:
        return [""] * 12
    cells = []
    for d in (pair.peculiar, pair.abnormal):
        gap = d.difference
        cells += [
            str(d.here),
            str(d.there),
            f"{gap.value:.4f}",
            f"{gap.low:.4f}",
            f"{gap.high:.4f}",
            f"{d.p:.3g}",
        ]
    return cells
