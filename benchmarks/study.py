"""How much faster two Ray workers run a study than one, with the same images.

Usage: python benchmarks/study.py [--model cifar10] [--n 256] [--shard 16] [--nfe 10] [--workers
1,2] [--repeats 3]

Workers have one thread each. For each worker count: images a second once every worker has finished
its first shard, so that starting Ray and loading the model (printed apart) are not counted; the
median and the range over the repeats. The images of all runs are compared by their SHA-256.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from diffdescent.lab.study import StudyConfig, make_study, prepare, ray_runner
from diffdescent.lab.study.shards import Task


@dataclass
class Clock:
    """When each shard was written, and how many images were in it."""

    begun: float = field(default_factory=time.perf_counter)
    at: list[float] = field(default_factory=list)
    images: list[int] = field(default_factory=list)

    def __call__(self, task: Task) -> None:
        self.at.append(time.perf_counter())
        self.images.append(len(task.samples))

    def rate(self, workers: int) -> float:
        """Images a second once every worker has finished its first shard."""
        return sum(self.images[workers:]) / (self.at[-1] - self.at[workers - 1])

    @property
    def start(self) -> float:
        """Seconds to the first shard."""
        return self.at[0] - self.begun


def one(config: StudyConfig, workers: int, out: Path) -> tuple[Clock, tuple[str, ...]]:
    """Run the study on Ray; its clock and the digests of its images."""
    study = prepare(config, out)
    clock = Clock()
    ray_runner.run(study, study.tasks, clock, workers=workers)
    return clock, tuple(_digest(task.path(out)) for task in study.tasks)


def _digest(shard: Path) -> str:
    with np.load(shard, allow_pickle=False) as arrays:
        return str(arrays["sha256"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cifar10")
    parser.add_argument("--n", type=int, default=256)
    parser.add_argument("--shard", type=int, default=16)
    parser.add_argument("--nfe", type=int, default=10)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    config = make_study(
        {
            "model": arguments.model,
            "samplers": "ddim",
            "grids": "loglinear",
            "nfe": arguments.nfe,
            "n": arguments.n,
            "shard": arguments.shard,
            "metrics": "is",
            "images": 0,
        }
    )
    counts = [int(count) for count in arguments.workers.split(",")]
    rates: dict[int, list[float]] = {count: [] for count in counts}
    seen: set[tuple[str, ...]] = set()
    for _ in range(arguments.repeats):
        for (
            count
        ) in counts:  # interleaved, so that a busy moment does not fall on one of them alone
            with tempfile.TemporaryDirectory() as folder:
                clock, digests = one(config, count, Path(folder) / "study")
            seen.add(digests)
            rates[count].append(clock.rate(count))
            print(
                f"{count} workers: {rates[count][-1]:.2f} images/s after {clock.start:.1f} s of"
                " start",
                flush=True,
            )
    base = statistics.median(rates[counts[0]])
    for count, found in rates.items():
        middle = statistics.median(found)
        print(
            f"{count} workers: median {middle:.2f} images/s ({min(found):.2f} … {max(found):.2f}), "
            f"{middle / base:.2f} × {counts[0]} worker"
        )
    print("the images of all runs are identical" if len(seen) == 1 else "THE IMAGES DIFFER")


if __name__ == "__main__":
    main()
