"""Figures of the studio as PNG: noise levels on one axis, weights, heat maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

import numpy as np

from diffdescent.base.images import save_figure
from diffdescent.core.plan import Plan
from diffdescent.core.process import Array

_LOCK = Lock()
"""matplotlib draws for one visitor at a time."""
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""A lane's colour, Okabe and Ito's."""


def drawn(draw: Callable[[Path], object]) -> bytes:
    """The PNG that ``draw`` writes to the path that it is given."""
    with _LOCK, TemporaryDirectory() as folder:
        path = Path(folder) / "figure.png"
        draw(path)
        return path.read_bytes()


def draw_levels(plans: Sequence[tuple[str, Plan]], path: Path) -> None:
    """Where each plan evaluates, σ/α on one axis from noise (left) to data; an open circle is the
    place where it ends, ∞ and 0 stand at the margins."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    rows = [[row.at.ratio for row in plan.rows] for _, plan in plans]
    ends = [float(plan.grid.ratio[-1]) for _, plan in plans]
    known = [r for row in [*rows, ends] for r in row if 0 < r < math.inf]
    high, low = max(known) * 2.5, min(known) / 2.5

    def placed(ratio: float) -> float:
        return high if math.isinf(ratio) else max(ratio, low)

    figure, axes = plt.subplots(figsize=(8.4, 0.9 + 0.42 * len(plans)), layout="constrained")
    for i, ((_, _plan), row, end) in enumerate(zip(plans, rows, ends, strict=True)):
        colour = COLOURS[i % len(COLOURS)]
        places = [placed(r) for r in row]
        axes.plot([places[0], placed(end)], [i, i], color=colour, alpha=0.3, lw=1)
        axes.plot(places, [i] * len(places), "|", color=colour, ms=15, mew=2)
        axes.plot(placed(end), i, "o", mfc="white", color=colour, ms=6)
    axes.set_xscale("log")
    axes.set_xlim(high * 1.3, low / 1.3)
    axes.set_ylim(len(plans) - 0.5, -0.5)
    axes.set_yticks(range(len(plans)), [name for name, _ in plans], fontsize=8)
    axes.set_xlabel("σ/α  (noise left, data right)", fontsize=9)
    for edge, text, there in ((high, "∞", math.inf), (low, "0", 0.0)):
        if any(there in (*row, end) for row, end in zip(rows, ends, strict=True)):
            axes.annotate(text, (edge, -0.5), ha="center", va="bottom", fontsize=9)
    axes.grid(axis="x", alpha=0.25)
    save_figure(figure, path, 110)
    plt.close(figure)


def draw_heat_map(
    values: Array, xs: Sequence[str], ys: Sequence[str], names: tuple[str, str], path: Path
) -> None:
    """Distances (rows y, columns x), the smallest framed; NaN is left white."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    figure, axes = plt.subplots(
        figsize=(1.8 + 0.8 * len(xs), 1.3 + 0.45 * len(ys)), layout="constrained"
    )
    shown = np.ma.masked_invalid(values)
    image = axes.imshow(shown, cmap="viridis_r", aspect="auto")
    middle = (shown.min() + shown.max()) / 2
    for row, column in np.argwhere(~np.ma.getmaskarray(shown)):
        value = float(values[row, column])
        axes.text(
            column, row, f"{value:.3g}", ha="center", va="center", fontsize=8,
            color="white" if value > middle else "black",
        )  # fmt: skip
    if shown.count():
        row, column = np.unravel_index(int(shown.argmin()), values.shape)
        frame = Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, fill=False, ec="#D55E00", lw=2.5)
        axes.add_patch(frame)
    axes.set_xticks(range(len(xs)), xs)
    axes.set_yticks(range(len(ys)), ys)
    axes.set(xlabel=names[0], ylabel=names[1])
    axes.set_title("distance to the converged solution", fontsize=9)
    figure.colorbar(image, label="RMSE")
    save_figure(figure, path, 110)
    plt.close(figure)
