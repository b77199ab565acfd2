"""The picture of effective weights, for ``weights`` and ``explain``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from diffdescent.base.images import save_figure
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
