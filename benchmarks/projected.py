"""How far samples whose estimates are projected on A x = y are from the posterior p(x | y): the
table of docs/constraints.md.

    python benchmarks/projected.py [--images 8] [--samples 20] [--csv docs/tables/projected.csv]

Images are drawn from ``cifar10-mixture``, whose posterior is known; y = downsample(4) of each,
without noise; Karras grid. The metrics of :mod:`diffdescent.evaluate.posterior` with their 95 %
intervals over the images.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

import diffdescent as dd
from diffdescent.base.csv_text import csv_text
from diffdescent.base.files import write_atomically
from diffdescent.base.statistics import Estimate
from diffdescent.core.constraints import MeasuredSet
from diffdescent.core.operators import Linear, parse_operator
from diffdescent.core.transforms import Project
from diffdescent.evaluate.posterior import judge_posterior
from diffdescent.models import bundled
from diffdescent.models.mixture_file import load_mixture
from diffdescent.models.posterior import posterior

CASES = [(sampler, steps) for sampler in ("ddim", "ddim(eta=1)") for steps in (20, 100)]


def judged(
    n: int, each: int, cases: Sequence[tuple[str, int]] = CASES
) -> Iterator[tuple[str, int, dict[str, Estimate]]]:
    """Each sampler and number of steps with its metrics, from ``each`` samples of ``n`` images."""
    model, shape = load_mixture(bundled()["cifar10-mixture"]), (3, 32, 32)
    single, exact = (
        parse_operator("downsample(4)").bind(shape, dtype=dtype)
        for dtype in (torch.float32, torch.float64)
    )
    assert isinstance(exact, Linear)
    y = exact.forward(model.sample(n, torch.Generator().manual_seed(0)))
    known = posterior(model, "downsample(4)", y, noise=0.0)
    keeps_y = Project(MeasuredSet(single, y.float().repeat(each, 1, 1, 1)))
    for sampler, steps in cases:
        recipe, count = dd.sampler(sampler) | keeps_y, each * n
        made = dd.sample(
            model, recipe, steps=steps, grid="karras", n=count, batch_size=count
        ).images.view(each, n, *shape)
        yield sampler, steps, judge_posterior(made, known, exact, y, noise=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--samples", type=int, default=20, help="of each image")
    parser.add_argument("--csv", type=Path, help="where the table is written too")
    asked = parser.parse_args()
    rows: list[tuple[object, ...]] = [("sampler", "steps", "metric", "n", "value", "low", "high")]
    for sampler, steps, found in judged(asked.images, asked.samples):
        print(sampler, steps, *(f"{name} {one}" for name, one in found.items()), sep="\n  ")
        for name, one in found.items():
            values = (f"{value:.6g}" for value in (one.value, one.low, one.high))
            rows.append((sampler, steps, name, asked.images, *values))
    if asked.csv is not None:
        write_atomically(asked.csv, csv_text(rows).encode())


if __name__ == "__main__":
    main()
