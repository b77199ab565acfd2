"""Gradient estimation: the experiments' sampler, the released scheduler and smalldiffusion (all in
σ̃, α = 1)."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from diffdescent.core.grid import explicit_ratios, make_grid
from diffdescent.core.process import VE, VP
from diffdescent.core.solvers.ddim import DDIM, StochasticMu
from diffdescent.core.transforms import Estimate, GradientEstimation, Threshold
from tests.parity.golden import Case, Run, cases, compare, run, start


def _run(
    case: Case,
    ratios: np.ndarray,
    x: Tensor,
    gamma: float = 1.0,
    mu: float = 0.0,
    estimates: tuple[Estimate, ...] = (),
) -> Run:
    """The sampler of all three codes on the explicit grid of σ̃."""
    plan = (StochasticMu(mu) if mu else DDIM()).plan(explicit_ratios(VE(), ratios))
    noise = case.noise() if mu else None
    return run(GradientEstimation(gamma).rewrite(plan), x, noise=noise, estimates=estimates)


@cases("ge_experiments")
def test_experiments(case: Case) -> None:
    options, ratios = case.options, case["grid_sigma"]
    compare(
        case,
        _run(
            case,
            ratios,
            start() * np.hypot(1, ratios[0]),
            options.get("gam", 1.0),
            options.get("mu", 0.0),
        ),
    )


@cases("ge_experiments", lambda e: "style" in e["options"] and "native32" not in e["id"])
def test_experiments_grid(case: Case) -> None:
    options = case.options
    steps, process = options["steps"], case.process()
    if options["style"] == "DDIM":
        grid = make_grid("ddim", process, steps, start=options["start"])
    elif options["grid_source"].startswith("native"):
        grid = make_grid("loglinear", process, steps, start=options["start"], last=options["end"])
    else:
        # pure float64 rounds the reference's helper grid down, which shifts many of its indices by
        # one
        return
    assert np.array_equal(grid.t, case["grid_t"])


def _distinct(case: Case) -> tuple[np.ndarray, int]:
    """The grid's σ̃ without the repeats at its end, which are steps of length zero, and how many
    there were."""
    ratios = case["grid_sigma"]
    keep = np.concatenate(([True], np.diff(ratios) < 0))
    assert keep[: keep.sum()].all()
    return ratios[keep], int((~keep).sum())


@cases("ge_scheduler")
def test_scheduler(case: Case) -> None:
    options = case.options
    ratios, idle = _distinct(case)
    estimates = (Threshold(options["clip_sample_range"]),) if options["clip_sample"] else ()
    ours = _run(
        case, ratios, start(float(case["init_noise_sigma"])), options["gamma"], estimates=estimates
    )
    compare(case, ours, idle=idle)


@cases(
    "ge_scheduler",
    lambda e: e["options"]["style"] in ("Linear", "DDIM") and e.get("grid_same_in_float64"),
)
def test_scheduler_grid(case: Case) -> None:
    options = case.options
    process, steps, first = (
        VP.named(options["beta_schedule"]),
        options["num_inference_steps"],
        options["start"],
    )
    if options["style"] == "DDIM":
        grid = make_grid("ddim", process, steps, start=first)
    else:
        grid = make_grid("loglinear", process, steps, start=first, rule="released")
    assert np.array_equal(grid.t, case["grid_t"])


@cases("smalldiffusion")
def test_smalldiffusion(case: Case) -> None:
    options, ratios = case.options, case["grid_sigma"]
    compare(case, _run(case, ratios, start() * ratios[0], options["gam"], options["mu"]))
