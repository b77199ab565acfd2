"""Published tables next to ours, and which of their orderings hold here."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

from diffdescent.base.errors import unknown
from diffdescent.base.statistics import holm, normal_test

from .config import Line as PublishedLine
from .config import Published, Value
from .metrics import lower_is_better
from .paired import PairedEstimate
from .summary import LEVEL, Line


@dataclass(frozen=True)
class Beside:
    """One entry of a published table and ours, None where there is none."""

    published: float | None
    ours: PairedEstimate | None


@dataclass(frozen=True)
class Ordering:
    """Two rows that a published table orders in a column, ``better`` before ``worse``, with ours of
    both and ``gap``, above 0 where ours are in the published order; as text a sentence. ``p`` is
    that of no difference, adjusted for the number of the table's orderings (Holm)."""

    column: str
    better: str
    worse: str
    gap: PairedEstimate
    ours_better: PairedEstimate
    ours_worse: PairedEstimate
    p: float = 1.0

    @property
    def verdict(self) -> Literal["holds", "reversed", "undecided"]:
        """Whether our difference lies in the published order, the other way round, or cannot be
        told at 5 % within the table."""
        if self.p > LEVEL:
            return "undecided"
        return "holds" if self.gap.value > 0 else "reversed"

    def __str__(self) -> str:
        return (
            f"{self.column}: {self.better} better than {self.worse} (here by {self.gap}:"
            f" {self.ours_better} and {self.ours_worse})"
        )


@dataclass(frozen=True)
class Orderings:
    """Pairs of rows that a published table orders and we measured too, by what they come out as
    here. ``independent``: k rows of a column make k(k − 1)/2 orderings, of which k − 1 do not
    follow from others; their sum."""

    holds: tuple[Ordering, ...]
    reversed: tuple[Ordering, ...]
    undecided: tuple[Ordering, ...]
    independent: int

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.holds) + len(self.reversed) + len(self.undecided)


@dataclass(frozen=True)
class Compared:
    """A published table, row by row, with ours."""

    table: Published
    rows: tuple[tuple[str, tuple[Beside, ...]], ...]
    orderings: Orderings

    @property
    def titles(self) -> tuple[str, ...]:
        """What stands over its columns."""
        return self.table.shown or tuple(str(c) for c in self.table.columns)


def compare(table: Published, lines: Sequence[Line]) -> Compared:
    """Set our lines next to ``table``."""
    rows = []
    for row in table.rows:
        entries = [
            Beside(value, _ours(table, row, column, lines))
            for column, value in zip(table.columns, row.values, strict=True)
        ]
        rows.append((row.name, tuple(entries)))
    return Compared(table, tuple(rows), _orderings(table, rows))


def check(table: Published, columns: Collection[str]) -> None:
    """Whether a published table selects by columns that there are. Raises :class:`UserError` where
    it does not."""
    names = [*table.cells, *(name for row in table.rows for name in row.cells or ())]
    require_columns(names, columns, f"in the published table {table.table!r}")


def require_columns(names: Iterable[str], columns: Collection[str], where: str) -> None:
    """Raise :class:`UserError` for a name that is none of the study's columns; ``where`` it
    stands."""
    for name in names:
        if name not in columns:
            raise unknown(f"column ({where})", name, columns)


def selects(cells: Mapping[str, Value], columns: Mapping[str, Any]) -> bool:
    """Whether a line with ``columns`` is among those that ``cells`` selects; numbers are equal as
    numbers, and ``"*"`` is any value."""
    return all(name in columns and _same(columns[name], value) for name, value in cells.items())


def _same(a: Any, b: Any) -> bool:
    if b == "*":
        return True
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return math.isclose(a, b)
    return str(a) == str(b)


def _ours(
    table: Published, row: PublishedLine, column: Value, lines: Sequence[Line]
) -> PairedEstimate | None:
    if row.cells is None:
        return None
    wanted = {**table.cells, **row.cells}
    metric = str(column) if table.by == "metric" else str(table.metric)
    if table.by != "metric":
        # A budget is what was asked for: 50 evaluations of a method that can make 49 are still its
        # column 50.
        wanted["nfe_asked" if table.by == "nfe" else table.by] = column
    found = [line for line in lines if selects(wanted, line.columns) and metric in line.metrics]
    return found[0].metrics[metric] if len(found) == 1 else None


def _orderings(table: Published, rows: Sequence[tuple[str, tuple[Beside, ...]]]) -> Orderings:
    found: list[Ordering] = []
    for at, column in enumerate(table.columns):
        metric = str(column) if table.by == "metric" else str(table.metric)
        try:
            sign = 1 if lower_is_better(metric) else -1
        except KeyError:
            continue
        for (a, left), (b, right) in combinations(rows, 2):
            one, two = left[at], right[at]
            if (
                one.published is None
                or two.published is None
                or one.ours is None
                or two.ours is None
            ):
                continue
            if one.published == two.published:
                continue
            first_better = sign * one.published < sign * two.published
            better, worse = (a, b) if first_better else (b, a)
            ours_better, ours_worse = (one.ours, two.ours) if first_better else (two.ours, one.ours)
            gap = ours_worse.minus(ours_better) if sign > 0 else ours_better.minus(ours_worse)
            name = str((table.shown or table.columns)[at])
            found.append(Ordering(name, better, worse, gap, ours_better, ours_worse))
    adjusted = holm([normal_test(one.gap) for one in found])
    found = [replace(one, p=p) for one, p in zip(found, adjusted, strict=True)]
    rows_of: dict[str, set[str]] = {}
    for ordering in found:
        rows_of.setdefault(ordering.column, set()).update((ordering.better, ordering.worse))
    independent = sum(len(names) - 1 for names in rows_of.values())
    holds, reverse, undecided = (
        tuple(one for one in found if one.verdict == verdict)
        for verdict in ("holds", "reversed", "undecided")
    )
    return Orderings(holds, reverse, undecided, independent)
