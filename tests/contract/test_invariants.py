"""What every base plan keeps, on grids of every process, with infinite and finite ends.

Over data that is a single point c the network is constant, x0 = c, and the exact state is αc + σε
with one ε: every solver must end there, whatever its order. A stochastic one must have variance σ²
around αc, if it says so.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.core.executor import Executor
from diffdescent.core.grid import Grid, explicit
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import Flow, VPContinuous
from diffdescent.core.solvers import Solver
from diffdescent.core.solvers.ddim import DDIM, DDPM
from diffdescent.core.solvers.fresh_noise import forward_sigma
from diffdescent.core.solvers.gaussian import GaussianFlow
from diffdescent.core.weights import effective_weights
from tests.contract.setups import GRIDS
from tests.order.marginals import propagate
from tests.registry import deterministic, learned, solvers, stochastic

POINT = torch.tensor([0.7, -1.3, 0.0, 2.5], dtype=torch.float64)
NOISE = torch.tensor([0.4, 1.1, -0.8, 1.9], dtype=torch.float64)
EVERY_GRID = [pytest.param(grid, id=name) for name, grid in GRIDS.items()]
FINE = 1e-12


# Upwards over many decades of σ̃, high-order extrapolation magnifies the rounding of ε at the low
# end (Σ|w| ≫ 1).
INVERSE = [
    pytest.param(grid.reversed(), id=f"{name}, reversed")
    for name, grid in (
        ("vp", explicit(VPContinuous(), np.linspace(0.8, 0.2, 7))),
        ("ve", GRIDS["ve, narrow"]),
        ("flow", explicit(Flow(), [0.9, 0.8, 0.55, 0.5, 0.3, 0.2, 0.1])),
    )
]


@pytest.mark.parametrize("grid", EVERY_GRID + INVERSE)
@pytest.mark.parametrize("solver", solvers(lambda s: deterministic(s) and s.solves_points))
def test_a_single_point_is_solved_exactly(solver: Solver, grid: Grid) -> None:
    first, last = grid.points[0], grid.points[-1]
    start = first.alpha * POINT + first.sigma * NOISE
    executor = Executor(solver.plan(grid), start[None], dtype=torch.float64)
    while not executor.done:
        query = executor.ask()
        executor.tell(Prediction(POINT.expand(1, -1), conversion("x0", query.at)))
    expected = last.alpha * POINT + last.sigma * NOISE
    assert float((executor.x[0] - expected).abs().max()) < FINE * float(start.abs().max())


@pytest.mark.parametrize("grid", INVERSE)
@pytest.mark.parametrize("solver", solvers(stochastic))
def test_what_adds_noise_runs_no_reversed_grid(solver: Solver, grid: Grid) -> None:
    with pytest.raises(UserError, match="adds noise, so it cannot run a reversed grid"):
        solver.plan(grid)


@pytest.mark.parametrize("grid", EVERY_GRID + INVERSE)
@pytest.mark.parametrize("solver", solvers(lambda s: not s.solves_points))
def test_what_is_made_for_gaussian_data_solves_them(solver: Solver, grid: Grid) -> None:
    """Data N(0, v) of the variance v that the solver is made for: x keeps its quantile exactly."""
    assert isinstance(solver, GaussianFlow)
    variance = solver.known.power[0][0]
    first, last = (
        math.sqrt(p.alpha**2 * variance + p.sigma**2) for p in grid.points[:: grid.steps]
    )
    executor = Executor(solver.plan(grid), first * NOISE[None], dtype=torch.float64)
    while not executor.done:
        x, at = executor.ask().x, executor.ask().at
        share = at.alpha * variance / (at.alpha**2 * variance + at.sigma**2)
        executor.tell(Prediction(share * x, conversion("x0", at)))
    assert float((executor.x[0] - last * NOISE).abs().max()) < FINE * first


@pytest.mark.parametrize("grid", EVERY_GRID)
@pytest.mark.parametrize("solver", solvers(lambda s: not learned(s) and s.solves_points))
def test_weights_of_every_state(solver: Solver, grid: Grid) -> None:
    """At every committed level: w_T·α_T + Σ w_i = α_s, and the noise over a single point is what is
    declared."""
    weights = effective_weights(solver.plan(grid))
    scale = max(1.0, grid.points[0].norm)
    alphas = np.array([p.alpha for p in weights.points])
    sigmas = np.array([p.sigma for p in weights.points])
    total = weights.start * grid.points[0].alpha + weights.evals.sum(1)
    assert np.abs(total - alphas).max() < FINE * scale
    if solver.keeps_variance:
        assert np.abs(weights.noise_left - sigmas).max() < FINE * scale
    else:
        assert solver.stochastic


@pytest.mark.parametrize("grid", EVERY_GRID)
@pytest.mark.parametrize("solver", solvers(lambda s: stochastic(s) and not learned(s)))
def test_marginal_over_a_single_point(solver: Solver, grid: Grid) -> None:
    """The same by another way: mean and variance carried through the run with a network that
    answers c."""
    mean, variance = propagate(solver.plan(grid), POINT, torch.zeros_like(POINT))
    last, scale = grid.points[-1], max(1.0, grid.points[0].norm) ** 2
    assert float((mean - last.alpha * POINT).abs().max()) < FINE * scale
    if solver.keeps_variance:
        assert float((variance - last.sigma**2).abs().max()) < FINE * scale


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("grid", EVERY_GRID)
def test_ddim_variance_in_closed_form(grid: Grid, eta: float) -> None:
    """kept² + noise² = σ_s² in every row, with noise = η·(posterior deviation)."""
    for row, (src, dst) in zip(DDIM(eta=eta).plan(grid).rows, pairwise(grid.points), strict=True):
        (out,) = row.outputs
        assert out.noise == pytest.approx(
            eta * dst.sigma / src.sigma * forward_sigma(src, dst), rel=1e-12
        )
        kept = out.base * src.sigma if row.basis == "x0" else out.evals[0] + out.base * src.sigma
        assert kept**2 + out.noise**2 == pytest.approx(
            dst.sigma**2, abs=1e-12 * max(1, src.sigma**2)
        )


def test_the_large_variance_is_not_kept() -> None:
    """What declares that it does not keep the variance really does not: β in place of β̃ adds
    noise."""
    grid = GRIDS["vp, to the first level"]
    solver = DDPM(variance="large")
    assert not solver.keeps_variance
    weights = effective_weights(solver.plan(grid))
    sigmas = np.array([p.sigma for p in weights.points])
    assert (weights.noise_left > sigmas * 1.001).all()
    quiet = effective_weights(DDPM(final_noise=False).plan(grid))
    assert quiet.noise_left[-1] < 0.9 * sigmas[-1]


def test_a_wrong_coefficient_is_noticed() -> None:
    """The suite's own alarm: one coefficient off by 1e-9 breaks the identity that is tested to
    1e-12."""
    grid = GRIDS["vp, to zero"]
    plan = DDIM().plan(grid)
    row = plan.rows[3]
    (out,) = row.outputs
    bent = replace(row, outputs=(replace(out, evals=(out.evals[0] + 1e-9,)),))
    broken = Plan(grid, (*plan.rows[:3], bent, *plan.rows[4:]), name="broken")
    good, bad = effective_weights(plan), effective_weights(broken)
    sigmas = np.array([p.sigma for p in good.points])
    assert np.abs(good.noise_left - sigmas).max() < FINE
    assert np.abs(bad.noise_left - sigmas).max() > 1e-10
