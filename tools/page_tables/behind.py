"""How far a cell of a study is behind the best of its budget, and whether measurably."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tools.verdict_checks import LEVEL, Statement, corrected
from tools.verdict_numbers import Interval
from tools.verdict_tables import Tables, selected


@dataclass(frozen=True)
class Behind:
    """``gap`` is None for the best itself, ``decided`` whether it is behind it after Holm's
    correction over the study."""

    gap: Interval | None
    decided: bool

    def bold(self, text: str) -> str:
        """The text in bold, where the cell is the best or not measurably behind it."""
        return text if self.decided else f"**{text}**"

    def with_gap(self, text: str) -> str:
        """The text, in bold by the same rule, and in brackets how far behind."""
        return self.bold(text) + ("" if self.gap is None else f" ({self.gap:1})")


def decided(tables: Tables, name: str, family: Any, **wanted: Any) -> list[tuple[Interval, bool]]:
    """The differences of a family of ``results/paired/NAME.csv`` that are as wanted, each with
    whether it is decided within its family."""
    rows = tables.select(f"results/paired/{name}.csv", {"family": family})
    tested = corrected(Statement("", "", ""), rows)
    return [
        (Interval(*(float(row[k]) for k in ("difference", "low", "high"))), p <= LEVEL)
        for row, (_, p) in zip(rows, tested, strict=True)
        if selected(row, wanted)
    ]


def behind(tables: Tables, name: str, where: str, label: str) -> Behind:
    """A cell, by its label in the paired table. ValueError where it stands there twice."""
    found = decided(tables, name, "behind the best", where=where, a=label)
    if not found and tables.select(f"results/paired/{name}.csv", {"where": where, "b": label}):
        return Behind(None, False)
    if len(found) != 1:
        raise ValueError(f"{label!r} at {where} stands {len(found)} times in {name}")
    return Behind(*found[0])
