"""Time of one ``scheduler.step``, ours and diffusers', without a network::

    python benchmarks/scheduler.py                # latents of Stable Diffusion XL, batch 1
    python benchmarks/scheduler.py --size 64 128 --runs 12 --csv docs/tables/scheduler.csv

A run is ``set_timesteps`` and every step of it; a step's time is that of the steps alone, the first
of which makes the executor. Nothing is clipped, as for latents. Medians over interleaved runs, with
a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import inspect
import sys
import time
from pathlib import Path
from typing import Any

import diffusers
import torch

from diffdescent.apps.diffusers import DescentScheduler
from diffdescent.base.csv_text import csv_text
from diffdescent.base.files import write_atomically

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.pairs import HEAD, compared

PAIRS = {
    "ddim": "DDIMScheduler",
    "ddpm": "DDPMScheduler",
    "plms": "PNDMScheduler",
    "euler": "EulerDiscreteScheduler",
    "heun": "HeunDiscreteScheduler",
    "dpmpp(order=2)": "DPMSolverMultistepScheduler",
    "unipc": "UniPCMultistepScheduler",
    "deis": "DEISMultistepScheduler",
    "flow: euler": "FlowMatchEulerDiscreteScheduler",
}


def seconds_per_step(scheduler: Any, output: torch.Tensor, x: torch.Tensor, steps: int) -> float:
    """The mean over one run's steps."""
    scheduler.set_timesteps(steps, device=x.device)
    scheduler.set_begin_index(0) if hasattr(scheduler, "set_begin_index") else None
    extra = {}
    if "generator" in inspect.signature(scheduler.step).parameters:
        extra["generator"] = torch.Generator(x.device).manual_seed(0)
    scale = getattr(scheduler, "scale_model_input", lambda x, t: x)
    spent = 0.0
    for t in scheduler.timesteps:
        scale(x, t)
        _wait(x)
        begin = time.perf_counter()
        x = scheduler.step(output, t, x, **extra, return_dict=False)[0]
        _wait(x)
        spent += time.perf_counter() - begin
    return spent / len(scheduler.timesteps)


def _wait(x: torch.Tensor) -> None:
    if x.device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs="+", default=[128], help="latent side")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--csv", type=Path, help="where the table is written too")
    options = parser.parse_args()
    diffusers.logging.set_verbosity_error()
    rows: list[tuple[object, ...]] = []
    for size in options.size:
        x = torch.randn(options.batch, 4, size, size, device=options.device)
        output = torch.randn_like(x)
        print(
            f"\n{tuple(x.shape)} on {options.device}, {options.steps} steps, {options.runs} runs;"
            " µs a step, median [95 %]\n"
        )
        print("| recipe | diffdescent | diffusers | ratio |\n|---|---|---|---|")
        for name, cls in PAIRS.items():
            found = measured(name, cls, x, output, options.steps, options.runs)
            ours, theirs, ratio = (
                f"{found[k]:.{d}f} [{found[f'{of}low']:.{d}f}, {found[f'{of}high']:.{d}f}]"
                for k, of, d in (
                    ("ours", "ours_", 0), ("theirs", "theirs_", 0), ("value", "", 2)
                )
            )  # fmt: skip
            print(f"| `{name}` | {ours} | {theirs} | {ratio} |", flush=True)
            rows.append((name, size, *(f"{found[column]:.4g}" for column in HEAD)))
    if options.csv is not None:
        write_atomically(options.csv, csv_text([("recipe", "size", *HEAD), *rows]).encode())


def measured(
    name: str, cls: str, x: torch.Tensor, output: torch.Tensor, steps: int, runs: int
) -> dict[str, float]:
    """Our time and that of diffusers' scheduler ``cls``, interleaved."""
    own = {"clip_sample": False} if name in ("ddim", "ddpm") else {}
    theirs = getattr(diffusers, cls)(**own)
    ours = DescentScheduler.from_config(theirs.config, recipe=name.removeprefix("flow: "))
    with torch.no_grad():
        pairs = [
            [seconds_per_step(scheduler, output, x, steps) for scheduler in (ours, theirs)]
            for _ in range(runs + 2)  # two to warm up
        ]
    return compared(*zip(*pairs[2:], strict=True))


if __name__ == "__main__":
    main()
