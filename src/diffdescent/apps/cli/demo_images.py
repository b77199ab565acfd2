"""The picture of ``diffdescent demo``: a network's classes by several samplers from the same
noise."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from diffdescent.base.images import save_figure, sheet, to_uint8
from diffdescent.core.model_info import info
from diffdescent.core.solvers.calibrated import Calibrated
from diffdescent.models import load_model
from diffdescent.run import collect, prepare

from .progress import Bar

NETWORK = "cifar10"
GUIDANCE = "cfg(scale=4)"
WAYS: tuple[tuple[str | None, int], ...] = (
    (None, 5), ("ge(gamma=2)", 5), ("ge(gamma=2)", 10), ("ddim", 10), ("ddim", 50),
)  # fmt: skip
"""The rows of the picture: samplers and their steps, all from the same noise; None is the bundled
calibrated one, and left out where there is none for this network."""
ROWS = 2
"""Images of each class for each way."""


@dataclass(frozen=True)
class Row:
    """One way to sample: its images (n, C, H, W), a column a class, and what they cost."""

    title: str
    images: Tensor
    seconds: float


def draw_images(path: Path, seed: int, quiet: bool, name: str = NETWORK) -> None:
    """Sample every class of a model in every way, and write the picture."""
    model = load_model(name)
    classes = info(model).classes or ()
    labels = torch.arange(ROWS * len(classes)) % len(classes)
    runs = []
    for recipe, steps in WAYS:
        run = prepare(
            model,
            recipe,
            guidance=GUIDANCE,
            steps=steps,
            labels=labels,
            n=len(labels),
            seed=seed,
        )
        if recipe is not None or isinstance(run.recipe.solver, Calibrated):
            runs.append(run)
    rows = []
    with Bar(len(runs) * len(labels), done=0, hidden=quiet) as bar:
        for run in runs:
            begun = time.monotonic()
            images = collect(run, callback=bar.step).images
            title = f"{run.asked} | {GUIDANCE}, {run.plan.nfe} steps"
            rows.append(Row(title, images, time.monotonic() - begun))
            bar.finished(len(labels))
    _draw_rows(rows, classes, path)


def _draw_rows(rows: list[Row], classes: tuple[str, ...], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    width = len(classes)
    figure, axes = plt.subplots(
        len(rows), 1, figsize=(0.85 * width, 0.95 * ROWS * len(rows)), layout="constrained"
    )
    for axis, row in zip(axes, rows, strict=True):
        picture = sheet(to_uint8(row.images), columns=width, scale=1).permute(1, 2, 0).numpy()
        axis.imshow(picture, interpolation="nearest")
        centres = (torch.arange(width) + 0.5) * picture.shape[1] / width
        axis.set_xticks(centres.tolist(), classes, fontsize=8)
        axis.set_yticks([])
        axis.tick_params(length=0)
        axis.set_title(
            f"{row.title}  ·  {row.seconds:.1f} s for {len(row.images)} images",
            fontsize=9,
            loc="left",
        )
        for side in axis.spines.values():
            side.set_visible(False)
    save_figure(figure, path, dpi=130)
    plt.close(figure)
