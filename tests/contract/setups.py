"""Grids of every process and an artificial network: what the contract suites run over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from diffdescent.core.executor import Executor
from diffdescent.core.grid import Grid, explicit, explicit_ratios, make_grid
from diffdescent.core.noise import Keyed, NoiseSource
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Kind, Prediction, conversion
from diffdescent.core.process import VE, VP, Flow, Point, VPContinuous
from diffdescent.core.transforms import Displacement, Estimate
from tests.sub_vp import SubVP

VP_LINEAR = VP.named("linear")


def _zero_terminal_snr() -> VP:
    """Betas rescaled so that ᾱ_T = 0 (Lin et al. 2024, algorithm 1)."""
    root = np.sqrt(VP_LINEAR.alpha_bar)
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return VP.from_alpha_bar(root**2)


GRIDS: dict[str, Grid] = {
    "vp, to zero": make_grid("uniform", VP_LINEAR, 7, spacing="leading", end="zero"),
    "vp, to the first level": make_grid("loglinear", VP_LINEAR, 8, end="first"),
    "vp, pure noise": explicit(_zero_terminal_snr(), [999, 850, 600, 420, 250, 120, 30, -1]),
    "vp continuous": explicit(VPContinuous(), np.linspace(1, 1e-3, 9)),
    "ve, to zero": make_grid("karras", VE(), 8, end="zero"),
    "ve, narrow": explicit_ratios(VE(), [3.0, 2.2, 1.7, 0.9, 0.8, 0.35, 0.2]),
    "flow, pure noise to data": explicit(Flow(), np.linspace(1, 0, 9)),
    "flow, inside": explicit(Flow(), [0.9, 0.8, 0.55, 0.5, 0.3, 0.2, 0.05]),
    "sub-vp, to zero": make_grid("uniform", SubVP(), 7, spacing="trailing"),
}


def wave(x: Tensor, at: Point) -> Tensor:
    """A bounded nonlinear function of the state, sample by sample, of arithmetic alone.

    Vectorised and scalar arithmetic round alike, which sines and exponentials need not.
    """
    mixed = x * 0.75 + x.flip(-1) * 0.25
    return mixed / (mixed * mixed + 1.0) * (1.0 + 0.5 * at.sigma) + 0.1 * at.alpha


def answer(x: Tensor, at: Point, kind: Kind) -> Prediction:
    return Prediction(wave(x, at), conversion(kind, at))


def run(
    plan: Plan,
    x: Tensor,
    kind: Kind = "v",
    *,
    samples: Sequence[int] | None = None,
    estimates: Sequence[Estimate] = (),
    displacements: Sequence[Displacement] = (),
    noise: NoiseSource | None = None,
) -> Tensor:
    """The result for the network :func:`wave`, in x's own dtype; noise keyed by ``samples``."""
    index = torch.arange(len(x)) if samples is None else torch.tensor(list(samples))
    executor = Executor(
        plan,
        x,
        noise=noise or Keyed(5, index),
        estimates=estimates,
        displacements=displacements,
        dtype=x.dtype,
    )
    while not executor.done:
        query = executor.ask()
        executor.tell(answer(query.x, query.at, kind))
    return executor.x


def state(n: int, grid: Grid, dtype: torch.dtype = torch.float64) -> Tensor:
    """n states of an odd shape at the grid's start."""
    x = torch.randn(n, 2, 3, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return (x * grid.points[0].norm).to(dtype)


def first_step(plan: Plan) -> Plan:
    """The first row of ``plan`` alone, which commits at the second level."""
    grid = plan.grid
    short = replace(grid, t=grid.t[:2], alpha=grid.alpha[:2], sigma=grid.sigma[:2])
    return replace(plan, grid=short, rows=plan.rows[:1])
