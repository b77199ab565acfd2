"""The picture of effective weights, for ``weights`` and ``explain``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffdescent.base.images import save_figure
from diffdescent.core.band_weights import BandWeights
from diffdescent.core.weight_table import Weights


def draw_weights(found: Weights, path: Path) -> None:
    """The effective weights as a heat map: a row for each committed state, a column for each
    evaluation."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    limit = float(np.abs(found.evals).max()) or 1.0
    size = 3.0 + 0.28 * len(found.at)
    figure, axes = plt.subplots(
        figsize=(size + 1.0, 1.8 + 0.28 * len(found.points)), layout="constrained"
    )
    image = axes.imshow(found.evals, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(found.at)), found.labels, rotation=90, fontsize=7)
    axes.set_yticks(range(len(found.points)), [f"{p.ratio:.3g}" for p in found.points], fontsize=7)
    kind = "x0" if found.basis == "x0" else "ε"
    axes.set(
        xlabel=f"evaluation (estimates of {kind})",
        ylabel="σ/α of the committed state",
        title=found.name,
    )
    figure.colorbar(image, label="weight")
    save_figure(figure, path)
    plt.close(figure)


def draw_bands(found: BandWeights, path: Path) -> None:
    """The weights of the evaluations in the result over the radial frequency.

    A panel for each group of channel axes; the mean's knot, whose weights may be far larger, is
    left out.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        1, len(found.groups), figsize=(1.2 + 3.6 * len(found.groups), 3.4), sharey=True,
        squeeze=False, layout="constrained",
    )  # fmt: skip
    first = 1 if len(found.knots) > 2 else 0
    for axes, name, evals in zip(panels[0], found.groups, found.evals, strict=True):
        for label, values in zip(found.labels, evals[first:].T, strict=True):
            axes.plot(found.knots[first:], values, marker="o", markersize=3, label=label)
        axes.axhline(0, color="gray", linewidth=0.8)
        axes.set_xscale("log")
        axes.set(title=name, xlabel="radial frequency ρ")
    kind = "x0" if found.basis == "x0" else "ε"
    panels[0][0].set_ylabel(f"weight of the estimate of {kind}")
    panels[0][-1].legend(fontsize=7)
    save_figure(figure, path)
    plt.close(figure)
