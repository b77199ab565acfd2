"""Time per step outside the network, against diffusers' schedulers, in one run.

Usage: python benchmarks/overhead.py [--repeats 7] [--threads 1]

The "network" is a tensor made beforehand, so only the scheduler's own work is timed. Two sizes:
small (4×3×32×32, where Python and dispatch dominate) and memory-bound (64×3×128×128). For the
latter the floor is the time to read the tensors that the row needs once and to write its result
once, measured by copying as many bytes.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler

import diffdescent as dd
from diffdescent.core.predict import conversion

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
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(
        f"torch {torch.__version__}, {arguments.threads} thread(s), {STEPS} steps, median of"
        f" {arguments.repeats} runs\n"
    )
    print(
        f"{'size':<14}{'recipe':<18}{'ours':>10}{'diffusers':>12}{'ours/theirs':>13}{'floor':>10}{'ours/floor':>12}"
    )
    with torch.no_grad():
        for name, shape in SIZES.items():
            for recipe in PEERS:
                mine, other = ours(recipe, shape), theirs(recipe, shape)
                mine(), other()
                pairs = [
                    (mine(), other()) for _ in range(arguments.repeats)
                ]  # interleaved: both see the same machine
                a, b = (statistics.median(column) for column in zip(*pairs, strict=True))
                low = floor(recipe, shape) if name == "memory-bound" else float("nan")
                limits = f"{low * 1e6:>8.0f}µs{a / low:>12.2f}" if name == "memory-bound" else ""
                print(
                    f"{name:<14}{recipe:<18}{a * 1e6:>8.1f}µs{b * 1e6:>10.1f}µs{a / b:>13.2f}"
                    f"{limits}"
                )


if __name__ == "__main__":
    main()
