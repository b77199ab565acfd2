"""The ranked table, which all three forms of the report show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..gather import Results
from ..metrics import lower_is_better, title
from ..summary import DESCRIBING, Line, Ranked, flops_text, metrics_in, ranked, varying


@dataclass(frozen=True)
class Column:
    """A column of the ranked table; numbers are sorted by ``key`` and stand to the right."""

    title: str
    number: bool = True


@dataclass(frozen=True)
class Entry:
    """What stands in a table: its text, what it is sorted by, and whether it is among the best."""

    text: str
    key: float | str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """The ranked table, which all three forms of the report show."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Entry, ...], ...]


def ranked_table(results: Results) -> Table:
    """Cells by budget and rank, and how far behind the best of its budget each is by the first
    metric.

    Of each budget the best of every metric, and what does not differ from it measurably, is marked.
    """
    lines = results.lines
    metrics = metrics_in(lines)
    describing = varying(lines, DESCRIBING)
    columns = [Column("Budget"), Column("Rank"), Column("Sampler", number=False)]
    columns += [Column(name.capitalize(), number=False) for name in describing]
    columns += [Column("Evaluations"), Column("Steps")]
    columns += [Column(metric_head(m)) for m in metrics]
    columns += [Column("Behind the best"), Column("s/image"), Column("FLOPs/image")]
    marked = {m: {id(r.line) for r in ranked(lines, m) if r.tied} for m in metrics}
    first = ranked(lines, metrics[0])
    placed = {id(one.line) for one in first}
    rows = [_row(one.line, one, describing, metrics, marked) for one in first]
    # A cell whose labels, say, leave the first metric without meaning has no rank.
    rows += [_row(o, None, describing, metrics, marked) for o in lines if id(o) not in placed]
    return Table(tuple(columns), tuple(rows))


def _row(
    line: Line,
    one: Ranked | None,
    describing: Sequence[str],
    metrics: Sequence[str],
    marked: dict[str, set[int]],
) -> Any:
    asked, used = line.columns["nfe_asked"], line.columns["nfe"]
    evaluations = f"{used} of {asked}" if asked is not None and asked != used else str(used)
    entries = [
        Entry(str(line.budget), line.budget),
        Entry("–", 1e308) if one is None else Entry(str(one.rank), one.rank),
        Entry(line.title, line.title),
    ]
    entries += [Entry(_shortly(line.columns[name]), str(line.columns[name])) for name in describing]
    entries += [Entry(evaluations, used), Entry(str(line.columns["steps"]), line.columns["steps"])]
    for metric in metrics:
        estimate = line.metrics.get(metric)
        if estimate is None or math.isnan(estimate.value):
            entries.append(Entry("–", 1e308))
        else:
            entries.append(Entry(str(estimate), estimate.value, id(line) in marked[metric]))
    behind = 0.0 if one is None else one.behind.value
    place = 1e308 if one is None else _last(behind)
    entries.append(Entry(str(one.behind) if one is not None and behind else "–", place))
    entries += [
        Entry(f"{line.seconds:.3g}", line.seconds),
        Entry(flops_text(line.flops).strip(), line.flops),
    ]
    return tuple(entries)


def _shortly(value: object) -> str:
    """A column's text; the many levels of a grid that are given one by one are not shown."""
    text = str(value)
    return "its own levels" if text.startswith("explicit(") and len(text) > 40 else text


def metric_head(metric: str) -> str:
    """A metric's title with the direction in which it is better."""
    return f"{title(metric)} {'↓' if lower_is_better(metric) else '↑'}"


def _last(value: float) -> float:
    """What a number is sorted by; NaN comes last."""
    return 1e308 if math.isnan(value) else value
