"""diffusers' LCM and TCD schedulers run side by side with ours, in float64, from the same noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from diffdescent.core.grid import make_grid
from diffdescent.core.process import VP
from diffdescent.core.solvers.distilled import LCM, TCD
from tests.parity.golden import Replay, error, run, start
from tests.parity.live import DRAWS, TOLERANCE
from tests.parity.test_diffusers_live import reference

pytest.importorskip("diffusers")
Make = Callable[..., Any]


def made_as(scheduler: Make, kind: str, steps: int) -> Any:
    made = scheduler(kind, f"{kind.upper()}Scheduler", steps, clip_sample=False)
    made.alphas_cumprod = torch.from_numpy(VP.named().alpha_bar)  # theirs is in float32
    return made


@pytest.mark.parametrize("steps", [1, 4, 8])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_tcd(scheduler: Make, steps: int, gamma: float) -> None:
    made = made_as(scheduler, "tcd", steps)
    grid = make_grid("distilled", VP.named(), steps, end="first")
    assert grid.t[:-1].tolist() == made.timesteps.tolist()
    found = run(TCD(gamma).plan(grid), start(), noise=Replay(DRAWS)).final
    assert error(found, reference(made, eta=gamma)) < TOLERANCE


@pytest.mark.parametrize("steps", [1, 4, 7])
@pytest.mark.parametrize("boundary", [True, False])
def test_lcm_but_for_its_boundary_condition(scheduler: Make, steps: int, boundary: bool) -> None:
    """diffusers mixes x into x0 by c_skip, which is below 1e-5 at these times; without it the two
    are one."""
    made = made_as(scheduler, "lcm", steps)
    if not boundary:
        made.get_scalings_for_boundary_condition_discrete = lambda t: (0.0, 1.0)
    grid = make_grid("distilled", VP.named(), steps)
    assert grid.t[:-1].tolist() == made.timesteps.tolist()
    found = run(LCM().plan(grid), start(), noise=Replay(DRAWS)).final
    assert error(found, reference(made)) < (1e-4 if boundary else TOLERANCE)


def test_over_a_consistency_model_every_step_count_gives_the_data(scheduler: Make) -> None:
    """Data N(0, v): the flow takes x_t to x_t √v/√(α²v + σ²), and LCM over that keeps N(0, v)."""
    v = 0.3
    for steps in (1, 2, 8, 50):
        grid = make_grid("distilled", VP.named(), steps)
        plan = LCM().plan(grid)
        variance = grid.alpha[0] ** 2 * v + grid.sigma[0] ** 2
        for row, src in zip(plan.rows, grid.points, strict=False):
            gain = np.sqrt(v / (src.alpha**2 * v + src.sigma**2))  # x0 = gain · x
            eps = (1 - src.alpha * gain) / src.sigma
            (out,) = row.outputs
            scale = out.base + out.evals[0] * (gain if row.basis == "x0" else eps)
            variance = scale**2 * variance + out.noise**2
        assert variance == pytest.approx(v, rel=1e-9)


def test_more_steps_than_distilled_levels() -> None:
    from diffdescent import UserError

    with pytest.raises(UserError, match="distilled at 50 levels has no grid of 60 steps"):
        make_grid("distilled", VP.named(), 60)
