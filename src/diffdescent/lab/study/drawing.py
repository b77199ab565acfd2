"""How the curves and heat maps of a study are drawn, as SVG."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from textwrap import fill
from typing import Any

from diffdescent.base.images import plain_texts

from .metrics import lower_is_better, title
from .paired import PairedEstimate
from .summary import Line

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#6F4E37", "#000000")
"""Okabe and Ito's, which readers with any colour vision tell apart; yellow is replaced, being too
faint on white."""
MARKERS = "osD^vPX*"
PANELS = 3
"""Panels side by side."""
CHARACTERS = 57
"""Characters of a legend in the width of a panel."""
UNITS = {
    **dict.fromkeys(("rmse", "swd", "solution_rmse"), "pixel values in −1 … 1"),
    **dict.fromkeys(("precision", "recall", "agreement"), "share of images"),
}
"""What metrics are measured in, where they have a unit."""


def draw_series(
    panels: dict[str, list[Line]],
    metric: str,
    x_of: Callable[[Line], PairedEstimate],
    names: Sequence[str],
    x_title: str,
    *,
    log: bool = False,
    along: str | None = None,
    most: int = PANELS,
) -> bytes:
    """Curves over x, or along a parameter, whose values then stand at the points; at most ``most``
    panels stand side by side."""
    with _style() as plt:
        shape = _shape(len(panels), most)
        everything = [line for group in panels.values() for line in group]
        labels = list(dict.fromkeys(line_label(line, names) for line in everything))
        room = CHARACTERS * shape[1]
        across = min(len(labels), max(1, round(room / (6 + max(map(len, labels))))))
        names_of = {label: fill(label, room - 8) for label in labels}
        height = max(name.count("\n") + 1 for name in names_of.values())
        under = 0.21 * height * -(-len(labels) // across)
        size = (4.4 * shape[1] + 0.4, 3.5 * shape[0] + 0.4 + under)
        figure, axes = plt.subplots(
            *shape, figsize=size, squeeze=False, sharey=True, layout="constrained"
        )
        values = [
            line.metrics[metric].value
            for line in everything
            if math.isfinite(line.metrics[metric].value)
        ]
        wide = bool(values) and min(values) > 0 and max(values) > 8 * min(values)
        handles: dict[str, Any] = {}
        for axis, (panel, group) in zip(axes.flat, panels.items(), strict=False):
            for label in labels:
                mine = [line for line in group if line_label(line, names) == label]
                if not mine:
                    continue
                mine.sort(
                    key=lambda line: float(line.columns[along]) if along else x_of(line).value
                )
                across_x, up = (
                    [x_of(line) for line in mine],
                    [line.metrics[metric] for line in mine],
                )
                number = labels.index(label)
                colour = COLOURS[number % len(COLOURS)]
                handles[label] = axis.errorbar(
                    [x.value for x in across_x],
                    [y.value for y in up],
                    xerr=_half_widths(across_x),
                    yerr=_half_widths(up),
                    label=label,
                    color=colour,
                    marker=MARKERS[number % len(MARKERS)],
                    linestyle=("-", "--", ":")[number // len(COLOURS) % 3],
                    markersize=4.5,
                    linewidth=1.5,
                    elinewidth=0.8 if along else 1.5,
                    capsize=0 if along else 2.5,
                )
                if along:
                    for x, y, line in zip(across_x, up, mine, strict=True):
                        where, text = (x.value, y.value), f"{line.columns[along]:g}"
                        axis.annotate(
                            text,
                            where,
                            xytext=(4, 4),
                            textcoords="offset points",
                            fontsize=8,
                            color=colour,
                        )
            ticks = sorted({x_of(line).value for line in group})
            if log:
                axis.set_xscale("log")
            if not along and len(ticks) <= 12:
                axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
                axis.minorticks_off()
            if wide:
                axis.set_yscale("log")
            axis.set_title(fill(panel, CHARACTERS))
            axis.set_xlabel(x_title)
            axis.grid(alpha=0.25)
        for axis in list(axes.flat)[len(panels) :]:
            axis.set_visible(False)
        for row in axes:
            row[0].set_ylabel(axis_title(metric))
        shown = [label for label in labels if label in handles]
        ordered = [handles[label] for label in shown]
        written = [names_of[label] for label in shown]
        figure.legend(ordered, written, loc="outside lower center", ncols=across, frameon=False)
        return _svg(figure, plt)


def _half_widths(found: Sequence[PairedEstimate]) -> list[list[float]]:
    """How far the intervals reach below and above the values, 0 where there is none."""
    below = [one.value - one.low for one in found]
    above = [one.high - one.value for one in found]
    return [[max(0.0, v) if math.isfinite(v) else 0.0 for v in side] for side in (below, above)]


def axis_title(metric: str) -> str:
    better = f"{'lower' if lower_is_better(metric) else 'higher'} is better"
    unit = f"{UNITS[metric]}; " if metric in UNITS else ""
    return f"{title(metric)}\n({unit}{better})"


def draw_heat_map(
    panels: dict[str, list[Line]],
    metric: str,
    name: str,
    values: Sequence[float],
    budgets: Sequence[int],
    most: int = 2,
) -> bytes:
    """A parameter against the budget, coloured by a metric; at most ``most`` panels stand side by
    side."""
    with _style() as plt:
        import numpy as np
        from matplotlib.patches import Rectangle

        tables = []
        for group in panels.values():
            table = np.full((len(values), len(budgets)), np.nan)
            for line in group:
                place = values.index(float(line.columns[name])), budgets.index(line.budget)
                table[place] = line.metrics[metric].value
            tables.append(table)
        # Budgets differ by far more than the parameter does: each column is coloured by itself,
        # from best to worst.
        shape = _shape(len(panels), most)
        size = (
            max(3.4, 0.85 * len(budgets) + 1.6) * shape[1],
            (0.42 * len(values) + 1.5) * shape[0],
        )
        figure, axes = plt.subplots(*shape, figsize=size, squeeze=False, layout="constrained")
        lower = lower_is_better(metric)
        for axis, panel, table in zip(axes.flat, panels, tables, strict=False):
            # A panel may have no cell at a budget: classifier-free guidance costs two evaluations a
            # step, others one.
            known = np.ma.masked_invalid(table)
            least, greatest = known.min(0).filled(np.nan), known.max(0).filled(np.nan)
            best, worst = (least, greatest) if lower else (greatest, least)
            with np.errstate(invalid="ignore", divide="ignore"):
                shade = np.nan_to_num((table - best) / (worst - best), nan=0.0)
            axis.imshow(
                np.ma.masked_where(np.isnan(table), shade),
                cmap="viridis_r",
                vmin=0,
                vmax=1,
                aspect="auto",
            )
            for row, column in np.argwhere(~np.isnan(table)):
                value = table[row, column]
                axis.text(
                    column, row, f"{value:.3g}", ha="center", va="center", fontsize=8,
                    color="white" if shade[row, column] > 0.45 else "black",
                )  # fmt: skip
                if value == best[column]:
                    axis.add_patch(
                        Rectangle(
                            (column - 0.47, row - 0.47),
                            0.94,
                            0.94,
                            fill=False,
                            edgecolor="#D55E00",
                            linewidth=2,
                        )
                    )
            axis.set_xticks(range(len(budgets)), [str(b) for b in budgets])
            axis.set_yticks(range(len(values)), [f"{v:g}" for v in values])
            axis.set_xlabel("network evaluations for an image")
            axis.set_ylabel(name)
            axis.set_title(fill(panel, 42))
        for axis in list(axes.flat)[len(panels) :]:
            axis.set_visible(False)
        return _svg(figure, plt)


def _shape(panels: int, most: int = PANELS) -> tuple[int, int]:
    """Rows and columns of panels."""
    columns = min(panels, most)
    return -(-panels // columns), columns


class _style(AbstractContextManager[Any]):
    """matplotlib without a display, readable at the width of a page, and giving the same bytes
    every time."""

    def __enter__(self) -> Any:
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        self.context = matplotlib.rc_context(
            {
                "svg.hashsalt": "diffdescent",
                "font.size": 10,
                "axes.titlesize": 10.5,
                "legend.fontsize": 9.5,
            }
        )
        self.context.__enter__()
        return plt

    def __exit__(self, *error: Any) -> None:
        self.context.__exit__(*error)


def _svg(figure: Any, plt: Any) -> bytes:
    buffer = io.BytesIO()
    plain_texts(figure)
    # A legend wider than the panels stays whole.
    figure.savefig(buffer, format="svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    return buffer.getvalue()


def line_label(line: Line, names: Sequence[str]) -> str:
    return ", ".join(
        str(line.columns[name]) for name in names if line.columns[name] not in ("", None)
    )
