"""The results as a person reads them: one line for each cell, over its seeds, with every metric and
its interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from diffdescent.base.statistics import holm, normal_test

from .metrics import lower_is_better
from .paired import PairedEstimate, mean_over_seeds


@dataclass(frozen=True)
class Line:
    """One cell over all of its seeds."""

    columns: dict[str, Any]
    metrics: dict[str, PairedEstimate]
    cells: tuple[str, ...]
    n: int
    seconds: float
    flops: float
    command: str

    @property
    def title(self) -> str:
        """The block's name, if any, and the recipe."""
        name, sampler = self.columns["name"], self.columns["sampler"]
        return f"{name}: {sampler}" if name else str(sampler)

    @property
    def budget(self) -> int:
        """What the study asked for; the evaluations used, where it asked for steps."""
        return int(self.columns["nfe_asked"] or self.columns["nfe"])


@dataclass(frozen=True)
class Ranked:
    """A line with its rank among those of its budget.

    ``behind`` is how much worse than the best it is, above 0 for all metrics, and ``p`` that of no
    difference, adjusted for the study's number of comparisons with a best (Holm). ``tied`` says
    that it does not differ measurably from the best: at 5 % in that family.
    """

    rank: int
    behind: PairedEstimate
    line: Line
    p: float = 1.0

    @property
    def tied(self) -> bool:
        return self.behind.value == 0 or (self.behind.known and self.p > LEVEL)


LEVEL = 0.05
DESCRIBING = ("grid", "guidance", "labels")
"""What a line is called by, where the lines differ in it."""
"""At which a difference counts as measured."""
_OF_SEED = ("cell", "seed")


def lines_of(rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> list[Line]:
    """The tidy table's rows (a cell, seed and metric each) as lines; ``columns`` are those that
    describe a cell.

    Over k seeds the value is the mean, and its interval that of a mean of k independent ones:
    √Σ(half width)²/k.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    kept = [name for name in columns if name not in _OF_SEED]
    for row in rows:
        groups.setdefault(tuple(row[name] for name in kept), []).append(row)
    lines = []
    for key, group in groups.items():
        by_metric: dict[str, list[PairedEstimate]] = {}
        for row in group:
            low, high = (math.nan if row[side] is None else row[side] for side in ("low", "high"))
            draws = (
                {row["seed"]: torch.tensor(row["draws"], dtype=torch.float64)}
                if row["draws"]
                else {}
            )
            by_metric.setdefault(row["metric"], []).append(
                PairedEstimate(row["value"], low, high, draws)
            )
        cells = tuple(dict.fromkeys(row["cell"] for row in group))
        lines.append(
            Line(
                dict(zip(kept, key, strict=True)),
                {metric: mean_over_seeds(found) for metric, found in by_metric.items()},
                cells,
                sum(row["n"] for row in group) // len(by_metric),
                sum(row["seconds_per_image"] for row in group) / len(group),
                group[0]["flops_per_image"],
                group[0]["command"],
            )
        )
    return lines


def ranked(lines: Sequence[Line], metric: str) -> list[Ranked]:
    """Lines by budget, and within a budget from best to worst by ``metric``; equal values share a
    rank."""
    sign = 1 if lower_is_better(metric) else -1
    by_budget: dict[int, list[Line]] = {}
    for line in lines:
        if metric in line.metrics:
            by_budget.setdefault(line.budget, []).append(line)
    result = []
    for budget in sorted(by_budget):
        order = sorted(
            by_budget[budget], key=lambda line: sign * _or_worst(line.metrics[metric].value, sign)
        )
        best = order[0].metrics[metric]
        values = [line.metrics[metric].value for line in order]
        for line in order:
            own = line.metrics[metric]
            behind = own.minus(best) if sign > 0 else best.minus(own)
            result.append(
                Ranked(
                    values.index(own.value) + 1 if own.value in values else len(values),
                    behind,
                    line,
                )
            )
    others = [i for i, one in enumerate(result) if one.behind.value != 0 and one.behind.known]
    adjusted = holm([normal_test(result[i].behind) for i in others])
    for i, p in zip(others, adjusted, strict=True):
        result[i] = replace(result[i], p=p)
    return result


def _or_worst(value: float, sign: int) -> float:
    return value if math.isfinite(value) else sign * math.inf


@dataclass(frozen=True)
class Spread:
    """How much a parameter matters: mean and standard deviation of each metric over its values, all
    else equal."""

    parameter: str
    values: tuple[float, ...]
    where: str
    metrics: dict[str, tuple[float, float]]


def spreads(lines: Sequence[Line], parameters: Sequence[str]) -> list[Spread]:
    """Of each numeric parameter with at least two values, in each group of lines that differ in
    nothing else.

    The standard deviation is that of a sample (division by n − 1).
    """
    found = []
    for name in parameters:
        groups: dict[tuple[str, ...], list[Line]] = {}
        for line in lines:
            if isinstance(line.columns[name], (int, float)):
                others = [str(line.columns[other]) for other in parameters if other != name]
                key = (
                    line.columns["name"],
                    series_of(line),
                    line.columns["labels"],
                    str(line.budget),
                    *others,
                )
                groups.setdefault(key, []).append(line)
        for key, group in groups.items():
            values = tuple(sorted(float(line.columns[name]) for line in group))
            if len(set(values)) < 2:
                continue
            where = ", ".join(
                [*(word for word in key[:2] if word), f"{group[0].budget} evaluations"]
            )
            found.append(
                Spread(name, values, where, {m: _spread(group, m) for m in metrics_in(group)})
            )
    return found


def _spread(group: Sequence[Line], metric: str) -> tuple[float, float]:
    values = [line.metrics[metric].value for line in group]
    return statistics.fmean(values), statistics.stdev(values)


def series_of(line: Line) -> str:
    """What a parameter runs over: the sampler, guidance and grid with parameters left open."""
    template, grid = line.columns["template"], line.columns["grid"]
    return template if "@" in template else f"{template} on {grid}"


def metrics_in(lines: Sequence[Line]) -> list[str]:
    """Every metric of the lines, in the study's order."""
    return list(dict.fromkeys(metric for line in lines for metric in line.metrics))


def varying(lines: Sequence[Line], names: Sequence[str]) -> list[str]:
    """The columns among ``names`` in which the lines differ."""
    return [name for name in names if len({str(line.columns.get(name)) for line in lines}) > 1]


def flops_text(flops: float) -> str:
    """``1.23e9`` → ``"1.23 G"``."""
    for factor, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if flops >= factor:
            return f"{flops / factor:.3g} {unit}"
    return f"{flops:.3g} "
