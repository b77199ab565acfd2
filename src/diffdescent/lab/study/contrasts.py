"""Two methods of a study against each other: at equal settings, and each at its own best."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from diffdescent.base.statistics import holm, normal_test

from .config import Contrast, Value
from .metrics import lower_is_better, title
from .paired import PairedEstimate
from .published import require_columns, selects
from .summary import LEVEL, Line, metrics_in

_FIXED = ("grid", "labels", "nfe_asked", "steps")
"""Settings that are not parameters."""


@dataclass(frozen=True)
class Gap:
    """``of`` − ``against`` by one metric, paired; ``decided``: it differs from 0 among all gaps of
    the contrast."""

    of: PairedEstimate
    against: PairedEstimate
    difference: PairedEstimate
    decided: bool
    better: bool


@dataclass(frozen=True)
class Row:
    """The gaps of one pair of lines, by metric; ``where`` says which pair."""

    where: str
    gaps: dict[str, Gap]


@dataclass(frozen=True)
class Contrasted:
    """A contrast with its rows: those at equal settings first, then those at each method's own
    best."""

    contrast: Contrast
    rows: tuple[Row, ...]

    @property
    def tests(self) -> int:
        """How many differences were tested together."""
        return sum(len(row.gaps) for row in self.rows)


def check(one: Contrast, columns: Collection[str]) -> None:
    """Whether a contrast selects by columns that there are. Raises :class:`UserError` where it does
    not."""
    require_columns((*one.of, *one.against), columns, f"in the contrast {one.name!r}")


def lacking(one: Contrast, lines: Sequence[Line]) -> str:
    """Why a contrast has no rows."""
    for side, by in (("of", one.of), ("against", one.against)):
        if not any(selects(by, line.columns) for line in lines):
            return f"no cell here is selected by its {side!r} side"
    return (
        "both methods are here, but never under equal settings; to compare across grids, say,"
        ' select the grid in both sides (grid: "*" is any)'
    )


def contrast(one: Contrast, lines: Sequence[Line], parameters: Sequence[str]) -> Contrasted:
    """Compare the lines that ``one.of`` selects with those of ``one.against``.

    Two lines have equal settings if they agree in the grid, the labels, the budget (the steps,
    where the study counts steps), every parameter that both have, and whatever of sampler and
    guidance is not what both sides of the contrast select by. Where both have several lines that
    agree in all of these but the parameters, each one's own best by each metric is compared too, by
    all metrics.

    The p-value of a difference d is that of a normal, 2Φ(−|d|/s), with s the standard deviation of
    its paired draws; all of a contrast are adjusted together by
    :func:`~diffdescent.base.statistics.holm`, and those below 0.05 are decided. At the best of each
    the values were also chosen by, which the p-value does not know.
    """
    pairs = _pairs(one, lines, parameters)
    gaps = [
        (at, metric)
        for at, (_, a, b) in enumerate(pairs)
        for metric in a.metrics
        if metric in b.metrics
    ]
    differences = [pairs[at][1].metrics[m].minus(pairs[at][2].metrics[m]) for at, m in gaps]
    decided = [p < LEVEL for p in holm([normal_test(one) for one in differences])]
    rows: list[dict[str, Gap]] = [{} for _ in pairs]
    for (at, metric), difference, sure in zip(gaps, differences, decided, strict=True):
        _, a, b = pairs[at]
        better = (difference.value < 0) == lower_is_better(metric)
        rows[at][metric] = Gap(a.metrics[metric], b.metrics[metric], difference, sure, better)
    return Contrasted(
        one, tuple(Row(where, row) for (where, _, _), row in zip(pairs, rows, strict=True))
    )


def _pairs(
    one: Contrast, lines: Sequence[Line], parameters: Sequence[str]
) -> list[tuple[str, Line, Line]]:
    """Every pair that is compared, with what says which it is."""
    free = _free(one)
    groups: dict[tuple[Any, ...], tuple[list[Line], list[Line]]] = {}
    for side, by in enumerate((one.of, one.against)):
        for line in lines:
            if selects(by, line.columns):
                groups.setdefault(_fixed(line, {*free, *parameters}), ([], []))[side].append(line)
    compared = [(ours, theirs) for ours, theirs in groups.values() if ours and theirs]
    firsts = [ours[0].columns for ours, _ in compared]
    telling = [name for name in _FIXED if len({columns[name] for columns in firsts}) > 1]
    found = []
    for ours, theirs in compared:
        at = _settings(
            [ours[0]], [n for n in telling if n != "steps" or ours[0].columns["nfe_asked"] is None]
        )
        shared = [name for name in parameters if name not in free]
        rows = _rows(ours, theirs, parameters, shared, metrics_in(lines))
        found += [
            (", ".join(filter(None, (at, where))) or "as selected", a, b) for where, a, b in rows
        ]
    return found


def _free(one: Contrast) -> set[str]:
    """Columns in which the lines of a pair may differ: those by which the contrast selects, and
    what these imply."""

    def both(*names: str) -> bool:
        return all(any(name in side for name in names) for side in (one.of, one.against))

    free = {"name", "nfe", *one.of, *one.against}
    if not both("name", "template", "sampler", "guidance"):
        # The template, which must agree, fixes both but for their parameters.
        return free | {"sampler", "guidance"}
    free.add("template")
    for part in ("sampler", "guidance"):
        if both("name", "template", part):
            free.add(part)
    return free


def _rows(
    ours: Sequence[Line],
    theirs: Sequence[Line],
    parameters: Sequence[str],
    shared: Sequence[str],
    metrics: Sequence[str],
) -> list[tuple[str, Line, Line]]:
    """The pairs of two groups that differ in parameters alone: those that agree in the shared ones,
    then the best."""
    own = [
        name
        for name in parameters
        if len({str(line.columns[name]) for line in (*ours, *theirs)}) > 1
    ]
    # A choice for one alone would not be fair.
    bests = _bests(ours, theirs, metrics) if len(ours) > 1 and len(theirs) > 1 else {}
    equal, others = [], []
    for a, b in ((a, b) for a, b in itertools.product(ours, theirs) if a is not b):
        values = [(a.columns[name], b.columns[name]) for name in shared]
        best = (
            f"each at its best {', '.join(titles)}" if (titles := bests.get((id(a), id(b)))) else ""
        )
        if all(x == y or x is None or y is None for x, y in values):
            equal.append(
                (" ".join(filter(None, (_settings([a, b], own), best and f"({best})"))), a, b)
            )
        elif best:
            others.append((f"{best} ({_settings([a], own)} against {_settings([b], own)})", a, b))
    return equal + others


def _fixed(line: Line, free: Collection[str]) -> tuple[Any, ...]:
    """The settings that two lines must have in common: a budget, or the steps where none was asked
    for."""
    counted = {"steps"} if line.columns["nfe_asked"] is not None else set()
    return tuple(value for name, value in line.columns.items() if name not in {*free, *counted})


def _bests(
    ours: Sequence[Line], theirs: Sequence[Line], metrics: Sequence[str]
) -> dict[tuple[int, int], list[str]]:
    """The titles of the metrics by which two lines are the best ones of the two methods, by the
    lines' identities."""
    found: dict[tuple[int, int], list[str]] = {}
    for metric in metrics:
        a, b = _best(ours, metric), _best(theirs, metric)
        if a is not None and b is not None:
            found.setdefault((id(a), id(b)), []).append(title(metric))
    return found


def _best(lines: Sequence[Line], metric: str) -> Line | None:
    sign = 1 if lower_is_better(metric) else -1
    known = [
        line
        for line in lines
        if metric in line.metrics and math.isfinite(line.metrics[metric].value)
    ]
    return min(known, key=lambda line: sign * line.metrics[metric].value, default=None)


def _settings(lines: Sequence[Line], names: Sequence[str]) -> str:
    """``"10 evaluations, scale = 2"``: those among ``names`` that one of the lines has."""
    values = [
        (name, next((v for line in lines if (v := line.columns[name]) is not None), None))
        for name in names
    ]
    return ", ".join(_setting(name, value) for name, value in values if value is not None)


def _setting(name: str, value: Value) -> str:
    units = {"nfe_asked": "evaluations", "steps": "steps"}
    if name in units:
        return f"{value} {units[name]}"
    text = f"{value:g}" if isinstance(value, (int, float)) else value
    return text if name == "grid" else f"{name} = {text}"
