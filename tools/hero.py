"""The README's picture: five steps of the bundled network by the samplers that people use and
by one that was fitted to it, from the same noise.

    python tools/hero.py --out docs/pictures/hero.png

The fitted one is the bundled ``cifar10-cfg4-5``; make it again for a new network
(``tools/calibrate_bundled.py``).
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from PIL import Image
from torch import Tensor

import diffdescent as dd

ROOT = Path(__file__).parents[1]
LABELS = "airplane,automobile,ship,truck"
GUIDANCE = "cfg(scale=4)"
IMAGES, STEPS, LEVELS = 8, 5, 64
ROWS = (
    ("DDIM", "DDIMScheduler"),
    ("DPM-Solver++", "DPMSolverMultistepScheduler"),
    ("UniPC", "UniPCMultistepScheduler"),
    ("calibrated", "calibrated('cifar10-cfg4-5')"),
)
"""What is drawn: the first three as diffusers' classes run with their default options."""


def draw(recipe: str, grid: str | None, steps: int) -> Tensor:
    """Images 0 to 7 of seed 0."""
    model = dd.load_model("cifar10")
    found = dd.sample(
        model, recipe, grid=grid, guidance=GUIDANCE, steps=steps, n=IMAGES, labels=LABELS
    )
    return found.images


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the README's picture.")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures" / "hero.png")
    out: Path = parser.parse_args().out
    rows = [(f"{name}\n{STEPS} steps", draw(r, None, STEPS)) for name, r in ROWS]
    exact = draw("unipc(order=3)", "exponential", LEVELS)
    rows.append((f"{LEVELS} steps:\nwhat the model draws", exact))
    for name, images in rows:
        away = (images - rows[-1][1]).square().mean((1, 2, 3)).sqrt().mean().item()
        print(f"{name!r}: {away:.3f} from the last row")
    picture(rows, out)


def picture(rows: list[tuple[str, Tensor]], out: Path) -> None:
    """A row of images for each sampler, its name at the left; ours is framed."""
    size, left = 0.92, 1.75
    width, height = left + size * IMAGES, size * len(rows)
    figure, axes = plt.subplots(len(rows), IMAGES, figsize=(width, height), dpi=92)
    for line, (name, images) in zip(axes, rows, strict=True):
        ours = name.startswith("calibrated")
        for axis, image in zip(line, images, strict=True):
            pixels = (image.clamp(-1, 1) + 1) / 2
            axis.imshow(pixels.permute(1, 2, 0), interpolation="lanczos")
            axis.set(xticks=[], yticks=[])
            for side in axis.spines.values():
                side.set(visible=ours, color="#00897b", linewidth=2.5)
        weight = "bold" if ours else "normal"
        line[0].set_ylabel(
            name, rotation=0, ha="right", va="center", fontsize=9, labelpad=6, weight=weight
        )
    figure.subplots_adjust(left / width, 0.01, 0.995, 0.99, 0.04, 0.04)
    buffer = io.BytesIO()
    figure.savefig(buffer, facecolor="white")
    Image.open(buffer).convert("RGB").quantize(192).save(out, optimize=True)


if __name__ == "__main__":
    main()
