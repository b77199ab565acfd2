"""Time per step outside the network, against diffusers' schedulers, in one run.

Usage: python benchmarks/overhead.py [--repeats 7] [--threads 1 2] [--csv docs/tables/overhead.csv]

The "network" is a tensor made beforehand, so only the scheduler's own work is timed. Two sizes:
small (4×3×32×32, where Python and dispatch dominate) and memory-bound (64×3×128×128). For the
latter the floor is the time to read the tensors that the row needs once and to write its result
once, measured by copying as many bytes.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

import diffdescent as dd
from diffdescent.base.csv_text import csv_text
from diffdescent.base.files import write_atomically
from diffdescent.core.predict import conversion

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.pairs import HEAD, compared

STEPS = 20
SIZES = {"small": (4, 3, 32, 32), "memory-bound": (64, 3, 128, 128)}
PEERS = {
    "ddim": lambda: DDIMScheduler(clip_sample=False),
    "dpmpp(order=2)": lambda: DPMSolverMultistepScheduler(solver_order=2),
    "unipc(order=2)": lambda: UniPCMultistepScheduler(solver_order=2),
}


def ours(recipe: str, shape: tuple[int, ...]) -> Callable[[], float]:
    """Seconds per step of an executor fed with a fixed prediction."""
    chosen = dd.sampler(recipe)
    plan = chosen.plan(dd.grid("uniform(spacing=trailing)", dd.VP.named(), STEPS))
    x, raw = torch.randn(shape), torch.randn(shape)
    predictions = [dd.Prediction(raw, conversion("eps", row.at)) for row in plan.rows]

    def run() -> float:
        executor = dd.Executor(plan, x)
        begin = time.perf_counter()
        for prediction in predictions:
            executor.ask()
            executor.tell(prediction)
        return (time.perf_counter() - begin) / STEPS

    return run


def theirs(recipe: str, shape: tuple[int, ...]) -> Callable[[], float]:
    """Seconds per ``step`` of diffusers' scheduler, fed with the same."""
    scheduler = PEERS[recipe]()
    x0, raw = torch.randn(shape), torch.randn(shape)

    def run() -> float:
        scheduler.set_timesteps(STEPS)
        x = x0
        begin = time.perf_counter()
        for t in scheduler.timesteps:
            x = scheduler.step(raw, t, x, return_dict=False)[0]
        return (time.perf_counter() - begin) / STEPS

    return run


def floor(recipe: str, shape: tuple[int, ...]) -> float:
    """Seconds to read what one interior row needs once and to write its result once."""
    plan = dd.sampler(recipe).plan(dd.grid("uniform(spacing=trailing)", dd.VP.named(), STEPS))
    row = plan.rows[STEPS // 2]
    reads: set[tuple[object, ...]] = set()
    writes = 0
    for out in row.outputs:
        reads |= {("base",)} if out.base or (out.evals and out.evals[0]) else set()
        reads |= {("current",)} if out.current else set()
        reads |= {("h", i) for i, c in enumerate(out.evals) if c}
        writes += 1
    source = [torch.randn(shape) for _ in range(len(reads) + writes)]
    target = torch.empty(shape)

    def once() -> float:
        # A copy reads one tensor and writes one; half of (reads + writes) copies move the bytes of
        # the row.
        begin = time.perf_counter()
        for tensor in source:
            target.copy_(tensor)
        return (time.perf_counter() - begin) / 2

    once()
    return statistics.median(once() for _ in range(15))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    parser.add_argument("--csv", type=Path, help="where the table is written too")
    arguments = parser.parse_args()
    rows: list[tuple[object, ...]] = []
    print(f"torch {torch.__version__}, {STEPS} steps, median of {arguments.repeats} runs\n")
    print(
        f"{'size':<14}{'recipe':<18}{'threads':>8}{'ours':>10}{'diffusers':>12}{'ours/theirs':>13}"
        f"{'floor':>10}{'ours/floor':>12}"
    )
    with torch.no_grad():
        for threads, (name, shape), recipe in itertools.product(
            arguments.threads, SIZES.items(), PEERS
        ):
            torch.set_num_threads(threads)
            found = measured(recipe, shape, arguments.repeats)
            low = floor(recipe, shape) * 1e6 if name == "memory-bound" else None
            limits = f"{low:>8.0f}µs{found['ours'] / low:>12.2f}" if low else ""
            print(
                f"{name:<14}{recipe:<18}{threads:>8}{found['ours']:>8.1f}µs"
                f"{found['theirs']:>10.1f}µs{found['value']:>13.2f}{limits}",
                flush=True,
            )
            values = (f"{found[column]:.4g}" for column in HEAD)
            rows.append((name, recipe, threads, *values, f"{low:.4g}" if low else ""))
    if arguments.csv is not None:
        head = ("size", "recipe", "threads", *HEAD, "floor")
        write_atomically(arguments.csv, csv_text([head, *rows]).encode())


def measured(recipe: str, shape: tuple[int, ...], repeats: int) -> dict[str, float]:
    """Both times, interleaved, so that they see the same machine."""
    mine, other = ours(recipe, shape), theirs(recipe, shape)
    mine(), other()
    pairs = [(mine(), other()) for _ in range(repeats)]
    return compared(*zip(*pairs, strict=True))


if __name__ == "__main__":
    main()
