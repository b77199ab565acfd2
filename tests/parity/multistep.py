"""What the λ-solvers' recorded cases need besides the harness: the committed states, and diffusers'
grids."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from diffdescent.core.grid import Grid, make_grid
from diffdescent.core.plan import Plan
from diffdescent.core.process import Process
from diffdescent.core.transforms.committed import Committed
from tests.parity.golden import Case, Replay, Run, run


def run_committed(plan: Plan, x: Tensor, noise: Replay | None = None) -> tuple[Run, list[Tensor]]:
    """The run, and the states x_0, x_1, … between its steps (the last one included)."""
    recorder = Committed([x])
    ours = run(plan, x, noise=noise, displacements=[recorder])
    assert len(recorder.states) == plan.steps + 1
    return ours, recorder.states


def diffusers_levels(
    process: Process, steps: int, spacing: str, final: str, **options: Any
) -> Grid:
    """The levels of diffusers' multistep schedulers: leading and linspace lay out one more and
    leave out the lowest."""
    end = {"zero": "zero", "sigma_min": "first"}[final]
    return make_grid(
        "uniform", process, steps, spacing=spacing, open=spacing != "trailing", end=end, **options
    )


def diffusers_grid(case: Case) -> Grid:
    """The grid of a recorded scheduler, by our builder, checked against the recorded timesteps and
    σ̃."""
    options = case.options
    grid = diffusers_levels(
        case.process(),
        options["num_inference_steps"],
        options["timestep_spacing"],
        options.get("final_sigmas_type", "zero"),
    )
    assert np.array_equal(grid.t[:-1], case["grid_t"])
    assert np.allclose(grid.ratio, case["grid_sigma"], rtol=1e-10, atol=1e-12)
    return grid
