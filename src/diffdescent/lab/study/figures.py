"""The figures of a report, as SVG: curves with intervals, heat maps of a parameter against the
steps, trade-offs."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from .drawing import axis_title, draw_heat_map, draw_series, line_label
from .metrics import title
from .paired import PairedEstimate
from .summary import Line, varying

SERIES = ("name", "sampler", "grid", "guidance", "labels")


@dataclass(frozen=True)
class Figure:
    """One picture with what it shows in a sentence; ``narrow`` has its panels under one another,
    for narrow pages."""

    svg: bytes
    narrow: bytes
    caption: str


def _figure(draw: Callable[..., bytes], caption: str) -> Figure:
    """The picture that ``draw`` makes, in both forms."""
    return Figure(draw(), draw(most=1), caption)


def curves(lines: Sequence[Line], metric: str) -> list[Figure]:
    """Quality against network evaluations, a panel for each grid, of the cells that have at least
    two budgets."""
    series: dict[str, list[Line]] = {}
    for line in lines:
        if metric in line.metrics:
            series.setdefault(line_label(line, SERIES), []).append(line)
    chosen = [
        line
        for group in series.values()
        if len({one.columns["nfe"] for one in group}) > 1
        for line in group
    ]
    if not chosen:
        return []
    panels = _groups(chosen, lambda line: line.columns["grid"])
    names = varying(chosen, [name for name in SERIES if name != "grid"]) or ["sampler"]
    x_title = "network evaluations for an image"
    draw = partial(draw_series, panels, metric, _exactly("nfe"), names, x_title, log=True)
    return [
        _figure(
            draw,
            f"{title(metric)} against network evaluations, with 95 % intervals, a panel for each"
            " grid.",
        )
    ]


def sweeps(lines: Sequence[Line], metric: str, parameters: Sequence[str]) -> list[Figure]:
    """Quality against each numeric parameter of at least three values, a panel for each budget."""
    figures = []
    for name, chosen in _swept(lines, [metric], parameters):
        panels = _groups(chosen, lambda line: f"{line.budget} evaluations")
        keys = _keys(chosen, name, parameters)
        draw = partial(draw_series, panels, metric, _exactly(name), keys, name)
        figures.append(
            _figure(
                draw,
                f"{title(metric)} against {name}, with 95 % intervals, a panel for each budget.",
            )
        )
    return figures


def tradeoffs(
    lines: Sequence[Line], metric: str, other: str, parameters: Sequence[str]
) -> list[Figure]:
    """One metric against another along each numeric parameter of at least three values: what is
    paid for what."""
    figures = []
    for name, chosen in _swept(lines, [metric, other], parameters):
        panels = _groups(chosen, lambda line: f"{line.budget} evaluations")
        keys = _keys(chosen, name, parameters)
        draw = partial(
            draw_series,
            panels,
            metric,
            lambda line: line.metrics[other],
            keys,
            axis_title(other),
            along=name,
        )
        figures.append(
            _figure(
                draw,
                f"{title(metric)} against {title(other)} with 95 % intervals, a panel for each"
                f" budget; along each line {name} runs, and its values stand at the points.",
            )
        )
    return figures


def _swept(
    lines: Sequence[Line], metrics: Sequence[str], parameters: Sequence[str]
) -> Iterator[tuple[str, list[Line]]]:
    """Each numeric parameter of at least three values, with the lines that have it and the
    metrics."""
    for name in parameters:
        chosen = [
            line
            for line in lines
            if set(metrics) <= line.metrics.keys() and isinstance(line.columns[name], (int, float))
        ]
        if len({line.columns[name] for line in chosen}) >= 3:
            yield name, chosen


def _keys(chosen: Sequence[Line], name: str, parameters: Sequence[str]) -> list[str]:
    """The columns that tell the curves over parameter ``name`` apart."""
    others = [other for other in parameters if other != name]
    grids = [] if any("@" in line.columns["template"] for line in chosen) else ["grid"]
    return varying(chosen, ["name", "template", *grids, "labels", *others]) or ["template"]


def heat_maps(lines: Sequence[Line], metric: str, parameters: Sequence[str]) -> list[Figure]:
    """A parameter against the budget, coloured by a metric: β × steps, γ × steps."""
    figures = []
    for name in parameters:
        chosen = [
            line
            for line in lines
            if metric in line.metrics and isinstance(line.columns[name], (int, float))
        ]
        values = sorted({float(line.columns[name]) for line in chosen})
        budgets = sorted({line.budget for line in chosen})
        if len(values) < 2 or len(budgets) < 2:
            continue
        keys = _keys(chosen, name, parameters)
        panels = _groups(chosen, partial(_shared, keys))
        figures.append(
            _figure(
                partial(draw_heat_map, panels, metric, name, values, budgets),
                f"{title(metric)} for each {name} and number of network evaluations; the best of a"
                " column is framed.",
            )
        )
    return figures


def _shared(keys: Sequence[str], line: Line) -> str:
    """What the lines of one panel have in common."""
    return ", ".join(str(line.columns[k]) for k in keys)


def _groups(lines: Sequence[Line], key: Callable[[Line], Hashable]) -> dict[str, list[Line]]:
    groups: dict[str, list[Line]] = {}
    for line in lines:
        groups.setdefault(str(key(line)), []).append(line)
    return groups


def _exactly(column: str) -> Callable[[Line], PairedEstimate]:
    """A column of numbers that are known, not measured."""
    return lambda line: PairedEstimate(float(line.columns[column]))
