"""Fréchet distance against the textbook form with scipy's matrix square root, in one run.

Usage: python benchmarks/metrics.py [--features 2048] [--repeats 5] [--threads 1]

Both get the same float64 means and covariances of random correlated features, with a spectrum that
falls like 1/k as that of image features does. Runs are interleaved; the ratio is taken within each
pair. scipy's linear algebra has threads of its own: set OMP_NUM_THREADS (and OPENBLAS_NUM_THREADS)
to the same number before Python starts.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

import numpy as np
import scipy
import scipy.linalg
import torch

from diffdescent.evaluate import Moments, frechet_distance, moments_of


def features(count: int, dimension: int, seed: int) -> Moments:
    """Moments of ``count`` Gaussian vectors whose standard deviations fall like k^(−1/2), in random
    directions."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.arange(1, dimension + 1, dtype=torch.float64).rsqrt()
    turn = torch.linalg.qr(
        torch.randn(dimension, dimension, generator=generator, dtype=torch.float64)
    ).Q
    return moments_of(
        torch.randn(count, dimension, generator=generator, dtype=torch.float64) * spread @ turn
    )


def textbook(a: Moments, b: Moments) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2·sqrtm(Σ₁Σ₂)), the form of most FID programs."""
    mean = a.mu.numpy() - b.mu.numpy()
    root = scipy.linalg.sqrtm(a.sigma.numpy() @ b.sigma.numpy())
    return float(
        mean @ mean
        + np.trace(a.sigma.numpy())
        + np.trace(b.sigma.numpy())
        - 2 * np.trace(root).real
    )


def timed(run: Callable[[Moments, Moments], float], a: Moments, b: Moments) -> tuple[float, float]:
    """Seconds, and the distance."""
    begin = time.perf_counter()
    value = run(a, b)
    return time.perf_counter() - begin, value


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--features", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    pair = (
        features(2 * options.features, options.features, 0),
        features(2 * options.features, options.features, 1),
    )
    timed(frechet_distance, *pair)  # what is loaded on first use
    runs = [
        (timed(frechet_distance, *pair), timed(textbook, *pair)) for _ in range(options.repeats)
    ]
    ours, theirs = [a[0] for a, _ in runs], [b[0] for _, b in runs]
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    (_, value), (_, expected) = runs[0]
    print(
        f"torch {torch.__version__}, scipy {scipy.__version__}, {options.threads} thread(s)"
        f" (OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}), {options.features}"
        f" features, {options.repeats} pairs of runs"
    )
    for name, times in (("ours", ours), ("scipy sqrtm", theirs)):
        print(
            f"{name:<12}median {statistics.median(times):.4f} s, {min(times):.4f} …"
            f" {max(times):.4f} s"
        )
    print(
        f"{'ratio':<12}median {statistics.median(ratios):.2f}×, {min(ratios):.2f} …"
        f" {max(ratios):.2f}×"
    )
    print(
        f"{'distance':<12}{value:.9g}, differs from sqrtm by"
        f" {abs(value - expected) / abs(expected):.1e} relative"
    )


if __name__ == "__main__":
    main()
