"""How often the 95 % intervals of metrics hold what they promise, on Gaussian features whose truth
is known.

Usage: python benchmarks/coverage.py [--sets 200] [--truth 1500] [--resamples 100] [--images 200]
       [--csv docs/tables/coverage.csv]

First the Fréchet distance of sets of images with 8 features to a known normal distribution, where
the estimated bias can be checked too; the truth is the mean distance of ``--truth`` other sets.
Then every metric, with 4 features shifted by 0.8 standard deviations, against 150 reference images;
the truth is the mean over the sets themselves. A width is in units of the true one, 2·1.96
standard deviations over the sets. S sets know a coverage to ±1.96·√(.95·.05/S).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch

from diffdescent.base.csv_text import csv_text
from diffdescent.base.files import write_atomically
from diffdescent.base.statistics import Z95
from diffdescent.evaluate import (
    Features,
    Score,
    frechet_distance,
    make_reference,
    moments_of,
    score,
)
from diffdescent.evaluate.frechet import factor, over_halves
from diffdescent.evaluate.half_sampling import halves, interval
from diffdescent.evaluate.moments import Moments

Row = tuple[str, str, int, float]
NAMES = ("fd", "sfd", "is", "precision", "recall", "kid")


def frechet(shift: float, scale: float, options: argparse.Namespace, d: int = 8) -> list[Row]:
    """One line of the first table: features of N(shift, scale²) against N(0, 1)."""
    generator = torch.Generator().manual_seed(1)
    truth = Moments(torch.zeros(d, dtype=torch.float64), torch.eye(d, dtype=torch.float64), None)

    def drawn() -> torch.Tensor:
        return (
            torch.randn(options.images, d, generator=generator, dtype=torch.float64) * scale + shift
        )

    many = torch.tensor(
        [frechet_distance(moments_of(drawn()), truth) for _ in range(options.truth)]
    )
    root, found = factor(truth.sigma), []
    for i in range(options.sets):
        x = drawn()
        over = over_halves(x, truth, root, halves(options.images, options.resamples, i))
        found.append(interval(frechet_distance(moments_of(x), truth), over, options.images))
    covered = sum(one.low <= many.mean() <= one.high for one in found) / options.sets
    width = sum(one.high - one.low for one in found) / options.sets / (2 * Z95 * many.std())
    bias, limit = sum(one.bias for one in found) / options.sets, d * (shift**2 + (scale - 1) ** 2)
    case = f"fd, {d} features, shift {shift:g}, scale {scale:g}"
    said = {"limit": limit, "coverage": covered, "width": width, "bias": bias}
    said["true bias"] = float(many.mean()) - limit
    return [(case, name, options.sets, float(value)) for name, value in said.items()]


def drawn_features(n: int, seed: int, shift: float = 0.0) -> Features:
    """Features, spatial features and probabilities of ``n`` images."""
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)) + shift
    return Features(x, x.square(), (2 * x).softmax(1))


def every_metric(options: argparse.Namespace) -> Iterator[Row]:
    """The second table."""
    reference = make_reference(drawn_features(150, 0))
    by_name: dict[str, list[Score]] = {name: [] for name in NAMES}
    for i in range(options.sets):
        images = drawn_features(options.images, 5000 + i, 0.8)
        for one in score(images, reference, NAMES, resamples=options.resamples, seed=i):
            by_name[one.metric].append(one)
    for name, found in by_name.items():
        values = torch.tensor([one.value for one in found], dtype=torch.float64)
        low, high = (
            torch.tensor([getattr(one, k) for one in found], dtype=torch.float64)
            for k in ("low", "high")
        )
        covered = ((low <= values.mean()) & (values.mean() <= high)).double().mean()
        width = (high - low).mean() / (2 * Z95 * values.std())
        yield name, "coverage", options.sets, float(covered)
        yield name, "width", options.sets, float(width)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=200)
    parser.add_argument("--truth", type=int, default=1500)
    parser.add_argument("--resamples", type=int, default=100)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--csv", type=Path, help="where the table is written too")
    options = parser.parse_args()
    cases = ((0.5, 1.0), (0.5, 1.3), (0.0, 1.0))
    rows = [row for shift, scale in cases for row in frechet(shift, scale, options)]
    rows += every_metric(options)
    for case, name, _, value in rows:
        print(f"{case}: {name} {value:.3f}")
    if options.csv is not None:
        lines = [(case, name, n, f"{value:.6g}") for case, name, n, value in rows]
        head = ("case", "figure", "n", "value")
        write_atomically(options.csv, csv_text([head, *lines]).encode())


if __name__ == "__main__":
    main()
