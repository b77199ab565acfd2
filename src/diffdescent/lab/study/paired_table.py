"""The paired differences behind a study's verdicts as a table: what is tested together, and how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffdescent.base.csv_text import csv_text
from diffdescent.base.files import write_atomically

from .paired import PairedEstimate
from .summary import DESCRIBING, Line, metrics_in, ranked, varying

if TYPE_CHECKING:
    from .contrasts import Contrasted
    from .published import Compared

NAME = "paired.csv"
COLUMNS = (
    "family", "where", "metric", "a", "b", "a_value", "b_value", "difference", "low", "high",
)  # fmt: skip
"""Rows of one ``family`` are tested together (Holm); ``where`` is a budget, a published column or
equal settings. The difference is a − b, in published orderings that which is above 0 in the
published order."""
Row = tuple[str, str, str, str, str, float, float, float, float, float]


def write_paired(
    out: Path,
    lines: Sequence[Line],
    published: Sequence[Compared],
    contrasts: Sequence[Contrasted],
) -> None:
    """``paired.csv``: what the study tables alone cannot tell, since their intervals are not of
    differences. Differences without an interval are left out."""
    rows = (*_behind(lines), *_orderings(published), *_gaps(contrasts))
    cells = ([f"{x:.6g}" if isinstance(x, float) else x for x in row] for row in rows)
    write_atomically(out / NAME, csv_text([COLUMNS, *cells]).encode())


def _row(
    family: str,
    where: str,
    metric: str,
    sides: tuple[str, str],
    values: tuple[float, float],
    gap: PairedEstimate,
) -> Iterator[Row]:
    if gap.known:
        yield family, where, metric, *sides, *values, gap.value, gap.low, gap.high


def _behind(lines: Sequence[Line]) -> Iterator[Row]:
    """Every line against the best of its budget, by the metric that ranks."""
    metrics = metrics_in(lines)
    if not metrics:
        return
    names = varying(lines, DESCRIBING)
    found = ranked(lines, metrics[0])
    best = {one.line.budget: one.line for one in reversed(found) if one.rank == 1}
    for one in found:
        first = best[one.line.budget]
        if one.behind.value != 0:
            a, b = (_called(line, names) for line in (one.line, first))
            values = (one.line.metrics[metrics[0]].value, first.metrics[metrics[0]].value)
            budget = str(one.line.budget)
            yield from _row("behind the best", budget, metrics[0], (a, b), values, one.behind)


def _called(line: Line, names: Sequence[str]) -> str:
    return "; ".join([line.title, *(str(line.columns[name]) for name in names)])


def _orderings(published: Sequence[Compared]) -> Iterator[Row]:
    for one in published:
        found = one.orderings
        for order in (*found.holds, *found.reversed, *found.undecided):
            yield from _row(
                f"published: {one.table.table}",
                order.column,
                "",
                (order.better, order.worse),
                (order.ours_better.value, order.ours_worse.value),
                order.gap,
            )


def _gaps(contrasts: Sequence[Contrasted]) -> Iterator[Row]:
    for one in contrasts:
        for row in one.rows:
            for metric, gap in row.gaps.items():
                yield from _row(
                    f"contrast: {one.contrast.name}",
                    row.where,
                    metric,
                    ("of", "against"),
                    (gap.of.value, gap.against.value),
                    gap.difference,
                )
