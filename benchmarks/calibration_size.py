"""What a calibration costs at the sizes of today's latents: time outside the network, and memory.

    python benchmarks/calibration_size.py --out calibration-size.csv
    python benchmarks/calibration_size.py --network sd --device cuda --dtype bf16 --shapes 4x64x64 \
        --out calibration-size.csv

Without ``--network`` a formula that costs next to nothing stands for the network, so that what is
seen is the calibration's own. ``sd`` is diffusers' UNet2DConditionModel as it is in Stable
Diffusion 1 (860 M parameters), with random weights and one prompt of random numbers: its answer,
made small, is added to the formula's, because a random network alone has no images to reach.
Every case runs in a process of its own: ``memory`` is what the process had at most (on CUDA, what
was allocated there) less what it had before the calibration, ``own_seconds`` the time outside the
network. A row is added as soon as it is known, and what stands there is left out.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from growing_table import Table
from torch import Tensor, nn

from diffdescent.core.network import Network
from diffdescent.core.process.vp import VP
from diffdescent.run.calibrate import calibrate

SHAPES = ("4x64x64", "4x128x128", "16x128x128")
CLIPPED = 1.5
"""Where the formula's images end, in units of their standard deviation: it is not linear."""
SHARE = 0.01
"""Of the random network's answer, in the estimate."""
WORDS, WIDTH = 77, 768
GIGA = 1e9


@dataclass
class Timed:
    """ε of a formula and, where there is one, of a network; ``seconds`` is the network's time."""

    process: VP
    network: nn.Module | None
    device: torch.device
    dtype: torch.dtype
    seconds: float = 0.0

    def __call__(self, x: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        began = self._now()
        at = self.process.point(float(t[0]))
        wiener = x.float() * at.alpha  # of images with variance 1: α/(α² + σ²)·x
        x0 = CLIPPED * torch.tanh(wiener / CLIPPED)
        eps = (x.float() - at.alpha * x0) / at.sigma
        if self.network is not None:
            words = torch.randn(1, WORDS, WIDTH, generator=torch.Generator().manual_seed(1))
            words = words.to(self.device, self.dtype).expand(len(x), -1, -1)
            eps = eps + SHARE * self.network(x, t, words).sample.float()
        self.seconds += self._now() - began
        return eps.to(x.dtype)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def stable_diffusion(device: torch.device, dtype: torch.dtype) -> nn.Module:
    """A denoiser of Stable Diffusion 1's sizes."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(0)
    with torch.device(device):
        net: nn.Module = UNet2DConditionModel(
            sample_size=64, cross_attention_dim=WIDTH, attention_head_dim=8
        )
    return net.to(dtype).eval().requires_grad_(False)


def most(device: torch.device) -> float:
    """The most memory that was held so far, in GB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / GIGA
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIGA


def measured(options: argparse.Namespace, shape: str) -> dict[str, Any]:
    """One calibration."""
    device = torch.device(options.device)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[options.dtype]
    network = stable_diffusion(device, dtype) if options.network == "sd" else None
    process = VP.named("scaled_linear")
    answers = Timed(process, network, device, dtype)
    sizes = tuple(map(int, shape.split("x")))
    model = Network(answers, process=process, kind="eps", shape=sizes, device=device, dtype=dtype)
    before, began = most(device), time.perf_counter()
    found = calibrate(
        model, nfe=options.nfe, trajectories_count=options.trajectories,
        held_out=options.held_out, teacher_levels=options.levels, micro_batch=options.micro_batch,
        note=lambda line: print(f"  {line}", flush=True),
    )  # fmt: skip
    whole = time.perf_counter() - began
    return {
        "own_seconds": f"{whole - answers.seconds:.1f}",
        "network_seconds": f"{answers.seconds:.1f}",
        "memory": f"{most(device) - before:.2f}",
        "image_evaluations": found.evaluations,
        **{f"seconds_{k.replace(' ', '_')}": v for k, v in found.solver.fit["seconds"].items()},
        "ratio": f"{found.fitted.value / found.opponent.value:.3f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--network", choices=("none", "sd"), default="none")
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="CxHxW, one or more")
    parser.add_argument("--nfe", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--trajectories", type=int, default=40)
    parser.add_argument("--held-out", type=int, default=32)
    parser.add_argument("--levels", type=int, default=64)
    parser.add_argument("--micro-batch", type=int, default=None)
    options = parser.parse_args()
    asked = ("network", "nfe", "device", "dtype", "trajectories", "held_out", "levels")
    table = Table(options.out, ("shape", *asked))
    for shape in options.shapes:
        what = {"shape": shape, **{name: str(getattr(options, name)) for name in asked}}

        def make(shape: str = shape) -> dict[str, Any]:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                return pool.apply(measured, (options, shape))

        table.fill(what, make)


if __name__ == "__main__":
    main()
