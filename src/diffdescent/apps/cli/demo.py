"""``diffdescent demo``: the main jobs on the bundled models — images of a network, and samplers
compared."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.files import make_folder
from diffdescent.base.images import save_figure, sheet, to_uint8
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import parse
from diffdescent.guidance import apply_guidance
from diffdescent.models import load_model
from diffdescent.run import sample as run_sampler

from .options import Quiet
from .progress import Bar
from .run_study import How, launch

NETWORK, MIXTURE = "cifar10", "cifar10-mixture"
GUIDANCE = "cfg(scale=4)"
WAYS = (("ge(gamma=2)", 10), ("ddim", 10), ("ddim", 50))
"""The rows of the picture: samplers and their steps, all from the same noise."""
ROWS = 3
"""Images of each class for each way."""
SAMPLERS = (
    "ddim; ddim | momentum(beta=-0.3); ge(gamma=2); ge(gamma=2) | momentum(beta=0.1); plms; deis;"
    " dpmpp(order=2); unipc"
)
STEPS, GRID = "5,10,20", "loglinear"


@dataclass(frozen=True)
class Row:
    """One way to sample: its images (n, C, H, W), a column a class, and what they cost."""

    title: str
    images: Tensor
    seconds: float


def demo(
    n: Annotated[int, typer.Option(help="Images behind each figure of the comparison.")] = 32,
    seed: Annotated[int, typer.Option(help="Seed of the noise that all samplers start from.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the picture and the comparison.")] = Path(
        "demo-output"
    ),
    quiet: Quiet = False,
) -> None:
    """Images of the bundled CIFAR-10 network, then samplers compared where the truth is known.

    Writes images.png (a column a class; gradient estimation and DDIM from the same noise), and
    under comparison/ a study on the bundled mixture, whose exact solution is known: table.csv and
    report.html say how far from it each sampler ends, with intervals. Given again, the comparison
    goes on where it was.
    """
    from diffdescent.lab.study import make_study

    if n < 1:
        raise UserError("--n must be at least 1.")
    make_folder(out)
    begun = time.monotonic()
    model = load_model(NETWORK)
    classes = info(model).classes or ()
    labels = torch.arange(ROWS * len(classes)) % len(classes)
    rows = []
    with Bar(len(WAYS) * len(labels), done=0, hidden=quiet) as bar:
        for recipe, steps in WAYS:
            rows.append(_row(model, recipe, steps, labels, seed, bar))
            bar.finished(len(labels))
    _draw(rows, classes, out / "images.png")
    values = {
        "title": f"Samplers compared on {MIXTURE}",
        "model": MIXTURE,
        "samplers": SAMPLERS,
        "steps": STEPS,
        "grids": GRID,
        "n": n,
        "seeds": str(seed),
        "images": 8,
    }
    launch(make_study(values, "The demo"), out / "comparison", How(quiet=quiet))
    typer.echo(f"Images: {out / 'images.png'}\n{time.monotonic() - begun:.0f} s in all")


def _row(model: Predictor, text: str, steps: int, labels: Tensor, seed: int, bar: Bar) -> Row:
    guided, recipe = apply_guidance(GUIDANCE, model, parse(text))
    begun = time.monotonic()
    result = run_sampler(
        guided, recipe, steps=steps, labels=labels, n=len(labels), seed=seed, callback=bar.step
    )
    return Row(
        f"{text} | {GUIDANCE}, {result.plan.nfe} steps", result.images, time.monotonic() - begun
    )


def _draw(rows: list[Row], classes: tuple[str, ...], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    width = len(classes)
    figure, axes = plt.subplots(
        len(rows), 1, figsize=(0.85 * width, 0.95 * ROWS * len(rows)), layout="constrained"
    )
    for axis, row in zip(axes, rows, strict=True):
        picture = sheet(to_uint8(row.images), columns=width).permute(1, 2, 0).numpy()
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
