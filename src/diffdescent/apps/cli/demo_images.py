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
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import parse
from diffdescent.guidance import apply_guidance
from diffdescent.models import load_model
from diffdescent.run import sample as run_sampler

from .progress import Bar

NETWORK = "cifar10"
GUIDANCE = "cfg(scale=4)"
WAYS = (("ge(gamma=2)", 10), ("ddim", 10), ("ddim", 50))
"""The rows of the picture: samplers and their steps, all from the same noise."""
ROWS = 3
"""Images of each class for each way."""


@dataclass(frozen=True)
class Row:
    """One way to sample: its images (n, C, H, W), a column a class, and what they cost."""

    title: str
    images: Tensor
    seconds: float


def draw_images(path: Path, seed: int, quiet: bool) -> None:
    """Sample every class in every way, and write the picture."""
    model = load_model(NETWORK)
    classes = info(model).classes or ()
    labels = torch.arange(ROWS * len(classes)) % len(classes)
    rows = []
    with Bar(len(WAYS) * len(labels), done=0, hidden=quiet) as bar:
        for recipe, steps in WAYS:
            rows.append(_row(model, recipe, steps, labels, seed, bar))
            bar.finished(len(labels))
    _draw_rows(rows, classes, path)


def _row(model: Predictor, text: str, steps: int, labels: Tensor, seed: int, bar: Bar) -> Row:
    guided, recipe = apply_guidance(GUIDANCE, model, parse(text))
    begun = time.monotonic()
    result = run_sampler(
        guided,
        recipe,
        steps=steps,
        labels=labels,
        n=len(labels),
        seed=seed,
        callback=bar.step,
        progress=False,
    )
    return Row(
        f"{text} | {GUIDANCE}, {result.plan.nfe} steps", result.images, time.monotonic() - begun
    )


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
