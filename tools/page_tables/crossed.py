"""Tables in which each cell is one row of a committed table: lines by columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tools.verdict_tables import Row, only, selected

Selections = Iterable[tuple[str, Mapping[str, Any]]]
"""Titles, each with the rows that it stands for."""


def crossed(
    rows: Sequence[Row],
    corner: str,
    lines: Selections,
    columns: Selections,
    cell: Callable[[Row], str],
) -> list[list[str]]:
    """A line and a column for each title; ``cell`` writes the row that both select, and where there
    is none the cell is empty. ValueError where there are more."""
    titles, selections = zip(*columns, strict=True)
    table = [[corner, *titles]]
    for title, wanted in lines:
        found = ([row for row in rows if selected(row, {**wanted, **x})] for x in selections)
        table.append([title, *(cell(only(some)) if some else "" for some in found)])
    return table


def each(rows: Sequence[Row], *names: str) -> list[dict[str, str]]:
    """The values of these columns that stand together, in their order."""
    kept = dict.fromkeys(tuple(row[name] for name in names) for row in rows)
    return [dict(zip(names, values, strict=True)) for values in kept]
