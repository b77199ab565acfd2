"""Analytic-DPM as released. Its index n is ours plus one: n = 0 is the data, t = −1."""

from __future__ import annotations

import math

import numpy as np

from diffdescent.core.grid import Grid, explicit
from diffdescent.core.process import VP
from diffdescent.core.solvers import Solver
from diffdescent.core.solvers.analytic import Analytic, Gamma
from diffdescent.core.solvers.ddim import DDIM, DDPM
from diffdescent.core.transforms import Threshold
from diffdescent.core.transforms.threshold import EpsRule
from tests.parity.golden import Case, Replay, cases, common, compare, error, note, run, start


def _grid(case: Case) -> Grid:
    return explicit(VP.named(), np.append(case["grid_r"], case["grid_s"][-1]) - 1.0)


def _solver(case: Case) -> Solver:
    options = case.options
    eta = options.get("eta", 1.0)
    if "naive" in options["function"]:
        if "ddim" in options["function"]:
            return DDIM(eta)
        return DDPM("small" if options.get("small_sigma", True) else "large")
    gamma = Gamma.of_indices(common("analytic_ms_eps")[1:])
    return Analytic(
        eta,
        gamma,
        clip_last=options.get("clip_sigma_idx", 0),
        clip_pixel=options.get("clip_pixel", 2.0),
    )


@cases("analytic_dpm", lambda e: "kind" not in e["options"])
def test_analytic(case: Case) -> None:
    plan = _solver(case).plan(_grid(case))
    variances = np.array([row.outputs[0].noise ** 2 for row in plan.rows])
    noisy = case["sigma2"] >= 0
    assert error(variances[noisy], case["sigma2"][noisy]) <= case.tol
    assert not variances[~noisy].any()
    # DDPM's mean is that of q(x_s | x_t, clipped x0); DDIM's keeps the network's ε beside the
    # clipped x0.
    rule: EpsRule = "recompute" if "ddpm" in case.options["function"] else "keep"
    estimates = (Threshold(eps=rule),) if case.options.get("clip_denoise", True) else ()
    # The reference draws at every step with s > 0, and multiplies by zero where the variance is
    # zero.
    draws = case.noise().index
    used = [i for i, variance in zip(draws, variances, strict=False) if variance > 0]
    compare(case, run(plan, start(), noise=Replay(used), estimates=estimates))


@cases("analytic_dpm", lambda e: "kind" in e["options"])
def test_variances(case: Case) -> None:
    plan = _solver(case).plan(_grid(case))
    variances = [row.outputs[0].noise ** 2 for row in plan.rows]
    note(case, error(variances, case["sigma2"]))
    assert math.isfinite(sum(variances))
