"""The picture of a landscape with the runs in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.images import save_figure
from diffdescent.core.model_info import info

from .plane import explained_share, plane
from .surroundings import Landscape, Path2D

RESOLUTION = 130
"""Dots an inch of the picture, which is 12.5 inches wide."""
_COLORS = ("C3", "C0", "C1", "C6", "C4", "C5", "C7", "C8", "C9", "C2")


def draw_landscape(
    view: Landscape,
    paths: Sequence[Path2D],
    reference: Tensor,
    path: Path,
    *,
    fit: Literal["runs", "all"] = "runs",
) -> dict[str, dict[str, float]]:
    """Two panels, x_t and x̂0, each on its own principal components, and which share of the
    variance these explain: of the ``runs``, and of ``all``, the surroundings included.

    ``fit`` says whose components: those of the runs, or of all points as in the paper, where the
    second is a direction of the noise as soon as the noise outweighs the runs.

    Args:
        view: the scene.
        paths: of the samplers that are drawn, by :meth:`Landscape.path`.
        reference: the image that all surroundings lead to.
        path: the picture's file.
        fit: whose components: those of the runs, or of all points as in the paper.

    Returns:
        For each panel the share of the variance that its plane explains, of the runs and of all.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    logs = torch.cat([(p.around - reference).norm(dim=-1).log().flatten() for p in paths]).numpy()
    states, near = [p.x for p in paths], []
    for p in paths:
        noise = torch.stack([view.noise(i).flatten(1) for i in range(len(p.points))])
        near.append((p.x[:, None] + noise).flatten(0, 1))
    panels = {
        "x_t": (states, near, None),
        "x̂0": ([p.x0 for p in paths], [p.around.flatten(0, 1) for p in paths], reference),
    }
    figure, axes = plt.subplots(1, 2, figsize=(12.5, 5.6), layout="constrained")
    shares: dict[str, dict[str, float]] = {}
    for panel, (name, (lines, clouds, end)) in zip(axes, panels.items(), strict=True):
        rows = torch.cat([*lines, *clouds, *([] if end is None else [end[None]])])
        runs = torch.cat(lines)
        found = plane(runs if fit == "runs" else rows, rows)
        sizes = [len(line) for line in lines]
        own = found.places[: sum(sizes)]
        shares[name] = {"runs": explained_share(own, runs.double()), "all": found.share}
        places = torch.split(
            found.places, [*sizes, sum(map(len, clouds)), *([] if end is None else [1])]
        )
        cloud = places[len(lines)].numpy()
        bins = panel.hexbin(
            cloud[:, 0],
            cloud[:, 1],
            C=logs,
            gridsize=38,
            reduce_C_function=np.mean,
            cmap="viridis",
            linewidths=0.1,
            alpha=0.9,
            mincnt=1,
        )
        for i, p in enumerate(paths):
            way = places[i].numpy()
            color = _COLORS[i % len(_COLORS)]
            panel.plot(way[:, 0], way[:, 1], "-", color="white", lw=3.2, alpha=0.7)
            panel.plot(way[:, 0], way[:, 1], "o-", color=color, ms=2.6, lw=1.3, label=p.name)
            panel.plot(
                *way[-1], "s", color=color, ms=8, mec="k", label="end of a run" if i == 0 else None
            )
        panel.plot(
            *places[0][0].numpy(), "o", color="white", ms=10, mec="k", label="start of all runs"
        )
        if end is not None:
            panel.plot(*places[-1][0].numpy(), "*", color="gold", ms=17, mec="k", label="x_ref")
        panel.set(xlabel="first principal component", ylabel="second principal component")
        what = "the states x_t" if name == "x_t" else "the estimates x̂0(x_t)"
        held = (
            f"{100 * shares[name]['runs']:.0f} % of the runs' variance, {100 * found.share:.1f} %"
            " with the noise"
        )
        panel.set_title(f"{what}\n(the plane holds {held})", fontsize=10)
    handles, names = axes[-1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=6, fontsize=8)
    figure.colorbar(bins, ax=axes, label="log ‖x̂0(x_t + n) − x_ref‖   (dark: near the reference)")
    model = info(view.model).name
    figure.suptitle(
        f"{model}, sample {view.number}: {view.steps} steps, {view.around} noisy neighbours of"
        " every state"
    )
    save_figure(figure, path, RESOLUTION)
    plt.close(figure)
    return shares
