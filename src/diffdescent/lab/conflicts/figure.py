"""The figure of a conflict analysis: six panels, direction above and magnitude below, a column a
pair."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffdescent.base.images import save_figure
from diffdescent.core.transforms.projection import Pair

from .rows import PAIRS, ConflictRow

BLUE, RED, GREY = "#2a6f97", "#bc4749", "#8d99ae"
NAMES = {"cls": "guidance", "den": "denoising", "div": "noise"}


def draw(rows_of: Mapping[Pair, list[ConflictRow]], record: Mapping[str, Any], path: Path) -> None:
    """Write the figure of every pair's rows in the format of the path's suffix.

    ``record`` says what was run.

    Above: the share of samples whose two gradients point against each other, before and after the
    projections. Below: Φ, where −1 means equal lengths and 0 very different ones. Bands are 95 %
    intervals over samples.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    steps = rows_of[PAIRS[0]]
    # A process whose time is its noise level.
    by_level = all(np.isclose(row.t, row.ratio) for row in steps)
    figure, axes = plt.subplots(
        2, 3, figsize=(10.5, 5.6), sharex=True, sharey="row", layout="constrained"
    )
    where = "of the evaluation" if record["rows"] == "evaluations" else "at which the step begins"
    for column, pair in enumerate(PAIRS):
        rows = rows_of[pair]
        above, below = axes[:, column]
        a, b = (NAMES[v] for v in pair.split("-"))
        above.set_title(f"({'abc'[column]}) {pair}: {a} and {b}", fontsize=10)
        below.set_title(f"({'def'[column]}) {pair}", fontsize=10)
        above.axhline(50, color=GREY, lw=0.8, ls=":", zorder=0)
        _line(above, rows, "direction", BLUE, "before projection", 100)
        _line(
            above,
            rows,
            "negative_after",
            RED,
            "after: first projected, second as it was",
            100,
            "--",
        )
        _line(below, rows, "magnitude", BLUE, None)
        if not any(row.figures["direction"].n for row in rows):
            above.text(
                0.5,
                0.5,
                "this sampler draws no noise",
                transform=above.transAxes,
                ha="center",
                fontsize=9,
            )
        below.set_xlabel(f"{'σ/α' if by_level else 'time t'} {where}", fontsize=9)
    axes[0, 0].set(ylabel="samples in conflict (%)", ylim=(-3, 103))
    axes[1, 0].set(ylabel="magnitude figure Φ\n(−1: equal lengths)", ylim=(-1.04, 0.04))
    if by_level:
        axes[0, 0].set_xscale("log")
    if steps[0].t > steps[-1].t:
        axes[0, 0].invert_xaxis()  # noise on the left, the image on the right
    for axis in axes.flat:
        axis.grid(alpha=0.25, lw=0.6)
        axis.tick_params(labelsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    title = (
        f"{record['model']}, {record['recipe']}, {len(steps)} {record['rows']}, {record['n']}"
        " samples"
    )
    figure.suptitle(title, fontsize=10)
    save_figure(figure, path, dpi=100)
    plt.close(figure)


def _line(
    axis: Any,
    rows: list[ConflictRow],
    name: str,
    colour: str,
    label: str | None,
    factor: float = 1,
    style: str = "-",
) -> None:
    """One figure over time with its band; steps without one leave a gap."""
    figures = [row.figures[name] for row in rows]
    t = np.array([row.t for row in rows])
    value, low, high = (
        factor * np.array([getattr(f, k) for f in figures]) for k in ("value", "low", "high")
    )
    axis.plot(t, value, style, color=colour, lw=1.4, label=label)
    axis.fill_between(t, low, high, color=colour, alpha=0.18, lw=0)
