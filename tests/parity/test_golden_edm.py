"""EDM's sampler with and without churn, and three of its ablations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from diffdescent.core.grid import Grid, explicit, explicit_ratios, make_grid
from diffdescent.core.process import VE, VPContinuous
from diffdescent.core.solvers.edm import Euler, Heun
from tests.parity.golden import Case, Replay, cases, compare, error, mixture_eps, run, start
from tests.parity.multistep import run_committed


def churning(case: Case, solver: Heun, grid: Grid) -> Replay:
    """The recorded draws of the steps that churn: the reference draws at every step, elsewhere
    times zero."""
    if not solver.s_churn:
        return Replay([])
    draws = zip(grid.ratio[:-1], case["noise_index"], strict=True)
    return Replay([int(i) for ratio, i in draws if solver.s_min <= ratio <= solver.s_max])


@cases("edm", lambda entry: "function" not in entry["options"])
def test_sampler(case: Case) -> None:
    o = case.options
    grid = make_grid(
        "karras", VE(), o["num_steps"], start=o["sigma_max"], last=o["sigma_min"], rho=o["rho"]
    )
    assert error(grid.ratio, case["grid_sigma"]) < 1e-12
    solver = Heun(
        s_churn=o["S_churn"], s_min=o["S_min"], s_max=float(o["S_max"]), s_noise=o["S_noise"]
    )
    noise = churning(case, solver, grid)
    ours, states = run_committed(solver.plan(grid), start(grid.ratio[0]), noise)
    assert noise.used == len(noise.index)
    compare(case, ours, states=states[:-1])


def ablation_grid(options: dict[str, Any], case: Case) -> Grid:
    """The ablation's own discretisations; what they share is that they end at σ = 0."""
    steps = options["num_steps"]
    if options["discretization"] == "vp":
        return explicit(
            VPContinuous(beta_min=0.1, beta_max=20.0), np.append(np.linspace(1, 1e-3, steps), 0.0)
        )
    if options["discretization"] == "ve":
        return explicit_ratios(VE(), np.append(np.geomspace(100, 0.02, steps), 0.0))
    return explicit_ratios(VE(), np.append(np.unique(case["calls"][:, 2])[::-1], 0.0))


@cases("edm", lambda entry: "function" in entry["options"])
def test_ablation(case: Case) -> None:
    options = case.options
    grid = ablation_grid(options, case)
    clock = {"vp": "time", "ve": "variance", "linear": "sigma"}[options["schedule"]]
    solver = (Heun if options["solver"] == "heun" else Euler)(clock=clock)
    x = start(grid.sigma[0])
    ours, states = run_committed(solver.plan(grid), x)
    asked = [point.ratio for point in ours.asked]
    assert error(np.array(asked), case["calls"][:, 2]) < 1e-10
    compare(case, ours, states=states[:-1], calls=False)


def test_alpha_half_is_the_midpoint_rule() -> None:
    grid = explicit_ratios(VE(), [4.0, 2.0, 1.0])
    x = start(4.0)
    ours = run(Heun(alpha=0.5).plan(grid), x)
    state = x
    for high, low in ((4.0, 2.0), (2.0, 1.0)):
        middle = state + (low - high) / 2 * mixture_eps(state, 1.0, high)
        state = state + (low - high) * mixture_eps(middle, 1.0, (high + low) / 2)
    assert torch.allclose(ours.final, state, rtol=0, atol=1e-12)
