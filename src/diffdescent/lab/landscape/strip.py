"""The strip of images: a row for each sampler, a column for each step count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from diffdescent.base.images import save_figure

from .surroundings import REFERENCE

COUNTS = (20, 40, 60, 80, 100, 120, 140, 160, 180, 200)
"""The step counts of the strip (figure 3)."""


def draw_strip(
    images: Sequence[Sequence[Tensor]],
    names: Sequence[str],
    counts: Sequence[int],
    reference: Tensor,
    reference_steps: int,
    path: Path,
) -> None:
    """A row for each sampler and a column for each step count, the reference at the right.

    Args:
        images: a list for each sampler of its images (C, H, W), one for each step count.
        names: of the samplers.
        counts: the step counts.
        reference: the image (C, H, W) at the right.
        reference_steps: of the run that made it.
        path: the picture's file.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    columns = len(counts) + 1
    figure, axes = plt.subplots(
        len(images),
        columns,
        figsize=(1.5 * columns + 1.2, 1.7 * len(images) + 0.5),
        layout="constrained",
        squeeze=False,
    )
    for row, (own, name) in enumerate(zip(images, names, strict=True)):
        for column, picture in enumerate([*own, reference]):
            panel = axes[row, column]
            shown = picture.clamp(-1, 1).add(1).div(2).permute(1, 2, 0).squeeze(2).numpy()
            panel.imshow(shown, cmap="gray" if shown.ndim == 2 else None, vmin=0, vmax=1)
            panel.set_xticks([])
            panel.set_yticks([])
            if row == 0:
                last = column == len(counts)
                panel.set_title(
                    f"{REFERENCE}\n{reference_steps}" if last else f"T = {counts[column]}",
                    fontsize=8,
                )
        axes[row, 0].set_ylabel(name.replace(" | ", "\n| "), fontsize=8)
    save_figure(figure, path, 120)
    plt.close(figure)
