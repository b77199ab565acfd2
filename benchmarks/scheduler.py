"""Time of one ``scheduler.step``, ours and diffusers', without a network::

    python benchmarks/scheduler.py                # latents of Stable Diffusion XL, batch 1
    python benchmarks/scheduler.py --size 32 --steps 20 --runs 50

A run is ``set_timesteps`` and every step of it; a step's time is that of the steps alone, the first
of which makes the executor. Nothing is clipped, as for latents. Medians over interleaved runs, with
a 95 % bootstrap interval.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import time
from typing import Any

import diffusers
import numpy as np
import torch

from diffdescent.apps.diffusers import DescentScheduler

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


def interval(values: list[float]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the median."""
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(values, (1000, len(values))), axis=1)
    return float(np.quantile(medians, 0.025)), float(np.quantile(medians, 0.975))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128, help="latent side")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    diffusers.logging.set_verbosity_error()
    x = torch.randn(options.batch, 4, options.size, options.size, device=options.device)
    output = torch.randn_like(x)
    print(
        f"{tuple(x.shape)} on {options.device}, {options.steps} steps, {options.runs} runs; µs a"
        " step, median [95 %]\n"
    )
    print("| recipe | diffdescent | diffusers | ratio |\n|---|---|---|---|")
    for name, cls in PAIRS.items():
        theirs = getattr(diffusers, cls)(
            **({"clip_sample": False} if name in ("ddim", "ddpm") else {})
        )
        ours = DescentScheduler.from_config(theirs.config, recipe=name.removeprefix("flow: "))
        times: dict[str, list[float]] = {"ours": [], "theirs": []}
        with torch.no_grad():
            for run in range(options.runs + 2):  # two to warm up
                for who, scheduler in (("ours", ours), ("theirs", theirs)):
                    spent = seconds_per_step(scheduler, output, x, options.steps) * 1e6
                    if run >= 2:
                        times[who].append(spent)
        cells = []
        for values in times.values():
            low, high = interval(values)
            cells.append(f"{statistics.median(values):.0f} [{low:.0f}, {high:.0f}]")
        ratio = statistics.median(times["ours"]) / statistics.median(times["theirs"])
        print(f"| `{name}` | {cells[0]} | {cells[1]} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
