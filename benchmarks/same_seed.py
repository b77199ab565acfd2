"""How far apart two runs of one seed are when a single convention differs: the table of
docs/same-seed.md.

    python benchmarks/same_seed.py [--n 32] [--csv docs/tables/same-seed.csv]

Each row is one change; the number is the root mean square over the images, in steps of 8 bits, with
the 95 % interval of its mean over images.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.base.csv_text import csv_text
from diffdescent.base.files import write_atomically
from diffdescent.base.statistics import Z95
from diffdescent.core.noise import INITIAL, normals

LEADING = "uniform(spacing=leading)"
OPEN = "uniform(spacing=linspace, open=true)"
LOW = "karras(start=14.6146)"
BASE = ("ddim", LEADING, 20)
THIRD = "dpmpp(order=3, released=true, lower_order_final={})"

ROWS: tuple[tuple[str, tuple[str, str, int], tuple[str, str, int], dict[str, bool]], ...] = (
    ("start from σ·noise, not √(α² + σ²)·noise: leading grid", BASE, BASE, {"small": True}),
    (
        "the same, from σ/α = 14.6 (DPM-Solver++, Karras)",
        ("dpmpp", LOW, 20),
        ("dpmpp", LOW, 20),
        {"small": True},
    ),
    ("spacing trailing, not leading", BASE, ("ddim", "uniform(spacing=trailing)", 20), {}),
    ("spacing linspace, not leading", BASE, ("ddim", "uniform(spacing=linspace)", 20), {}),
    ("steps_offset 1, not 0", BASE, ("ddim", "uniform(spacing=leading, offset=1)", 20), {}),
    (
        "end at the first trained level, not at σ = 0",
        BASE,
        ("ddim", "uniform(spacing=leading, end=first)", 20),
        {},
    ),
    ("times not rounded (linspace)", ("ddim", "normal", 20), ("ddim", "linspace", 20), {}),
    (
        "x0 clipped to [−1, 1] (`clip_sample`)",
        BASE,
        ("ddim | threshold(eps=keep)", LEADING, 20),
        {},
    ),
    (
        "gradient estimation's last step plain (ComfyUI; 10 steps)",
        ("ge", "loglinear(end=zero)", 10),
        ("ge(last=plain)", "loglinear(end=zero)", 10),
        {},
    ),
    (
        "lower orders at the end (third order, 10 steps)",
        (THIRD.format("never"), OPEN, 10),
        (THIRD.format("always"), OPEN, 10),
        {},
    ),
    ("float64 in place of float32 for the update", BASE, BASE, {"wide": True}),
    ("50 steps, not 20", BASE, ("ddim", LEADING, 50), {}),
    ("another seed", BASE, BASE, {"other": True}),
)


def images(
    model: dd.Predictor, recipe: str, grid: str, steps: int, n: int, changes: dict[str, bool]
) -> Tensor:
    """The images of a run; ``changes`` names what differs beside recipe and grid."""
    levels, seed = dd.grid(grid, model.process, steps), int(changes.get("other", False))
    first = levels.points[0]
    noise = normals(seed, torch.arange(n), (3, 32, 32), INITIAL)
    start = noise * (first.sigma if changes.get("small") else first.norm)
    dtype = torch.float64 if changes.get("wide") else torch.float32
    return dd.sample(
        model, recipe, grid=levels, start=start, n=n, seed=seed, dtype=dtype
    ).images.double()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=32, help="images")
    parser.add_argument("--csv", type=Path, help="where the table is written too")
    asked = parser.parse_args()
    n = asked.n
    model = dd.load_model("cifar10-mixture")
    rows: list[tuple[object, ...]] = [("what", "n", "value", "low", "high")]
    for what, one, other, changes in ROWS:
        gap = (images(model, *one, n, {}) - images(model, *other, n, changes)) * 127.5
        each = gap.square().flatten(1).mean(1).sqrt()
        value, half = float(each.mean()), float(Z95 * each.std() / math.sqrt(n))
        print(f"{what}: {value:.2g} ± {half:.1g}", flush=True)
        rows.append((what, n, *(f"{x:.6g}" for x in (value, value - half, value + half))))
    if asked.csv is not None:
        write_atomically(asked.csv, csv_text(rows).encode())


if __name__ == "__main__":
    main()
