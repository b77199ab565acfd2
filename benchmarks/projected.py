"""How far samples whose estimates are projected on A x = y are from the posterior p(x | y): the
table of docs/constraints.md.

    python benchmarks/projected.py [--images 8] [--samples 20] [--csv docs/tables/projected.csv]

Images are drawn from ``cifar10-mixture``, whose posterior is known; y = downsample(4) of each,
without noise; Karras grid. The metrics of :mod:`diffdescent.evaluate.posterior` with their 95 %
intervals over the images.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import torch
from diffdescent.constraints import MeasuredSet
from diffdescent.operators import parse_operator

import diffdescent as dd
from diffdescent.core.transforms import Project
from diffdescent.evaluate.posterior import judge_posterior
from diffdescent.models.posterior import posterior

SAMPLERS = ("ddim", "ddim(eta=1)")
STEPS = (20, 100)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--samples", type=int, default=20, help="of each image")
    parser.add_argument("--csv", type=Path, help="where the table is written too")
    asked = parser.parse_args()
    n, each = asked.images, asked.samples
    model, shape = dd.load_model("cifar10-mixture"), (3, 32, 32)
    single, exact = (
        parse_operator("downsample(4)").bind(shape, dtype=dtype)
        for dtype in (torch.float32, torch.float64)
    )
    truth = model.sample(n, torch.Generator().manual_seed(0))  # type: ignore[attr-defined]
    y = exact.forward(truth)
    known = posterior(model, "downsample(4)", y, noise=0.0)
    keeps_y = Project(MeasuredSet(single, y.float().repeat(each, 1, 1, 1)))
    rows: list[tuple[object, ...]] = [("sampler", "steps", "metric", "n", "value", "low", "high")]
    for sampler in SAMPLERS:
        for steps in STEPS:
            count = each * n
            made = dd.sample(
                model, dd.sampler(sampler) | keeps_y, steps=steps, grid="karras", n=count,
                batch_size=count,
            ).images  # fmt: skip
            found = judge_posterior(made.view(each, n, *shape), known, exact, y, noise=0.0)
            print(sampler, steps, *(f"{name} {one}" for name, one in found.items()), sep="\n  ")
            for name, one in found.items():
                values = (f"{value:.6g}" for value in (one.value, one.low, one.high))
                rows.append((sampler, steps, name, n, *values))
    if asked.csv is not None:
        with asked.csv.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
