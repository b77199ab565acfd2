"""Every registered stochastic solver: the order of the marginal mean and variance on exact
Gaussians."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from torch import Tensor

from diffdescent.core.executor import Executor
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.solvers import Solver
from tests.order.levels import MIDDLE, level_grid
from tests.order.marginals import propagate
from tests.order.measure import settled_slope
from tests.order.problems import GAUSSIANS, MEANS, VARIANCES
from tests.registry import learned, solvers, stochastic

MEAN, VARIANCE = (torch.from_numpy(a[0, :GAUSSIANS]) for a in (MEANS, VARIANCES))


@lru_cache
def errors(solver: Solver, n: int) -> tuple[Tensor, Tensor]:
    """Error of the mean and of the variance at the end, in σ̃-coordinates."""
    grid = level_grid(solver.variable, "uniform", n, MIDDLE)
    end = grid.points[-1]
    mean, variance = propagate(solver.plan(grid), MEAN, VARIANCE)
    return mean / end.alpha - MEAN, variance / end.alpha**2 - (VARIANCE + end.ratio**2)


@pytest.mark.parametrize("solver", solvers(lambda s: stochastic(s) and not learned(s)))
def test_marginals_converge_at_the_declared_order(solver: Solver) -> None:
    """The variance at the declared order; the mean of a Gaussian exactly, since its denoiser is
    constant along αμ."""
    assert float(errors(solver, 24)[0].abs().max()) < 1e-12
    order = settled_slope(lambda n: float(errors(solver, n)[1].norm()), (12, 24, 48, 96, 192))
    assert order == pytest.approx(solver.order_on("uniform", cold=True), abs=0.15)


@pytest.mark.parametrize(
    "solver", solvers(lambda s: not stochastic(s) and s.name in ("ddim", "plms", "unipc"))
)
def test_propagation_of_a_deterministic_plan_is_its_run(solver: Solver) -> None:
    """The instrument itself: without noise, one standard deviation above the mean is where a run
    from there ends."""
    grid = level_grid(solver.variable, "smooth", 9)
    plan, first = solver.plan(grid), grid.points[0]
    mean, variance = propagate(plan, MEAN, VARIANCE)
    start = first.alpha * MEAN + (first.alpha**2 * VARIANCE + first.sigma**2).sqrt()
    executor = Executor(plan, start[None], dtype=torch.float64)
    while not executor.done:
        query = executor.ask()
        at, x = query.at, query.x
        gain = at.alpha * VARIANCE / (at.alpha**2 * VARIANCE + at.sigma**2)
        executor.tell(Prediction(MEAN + gain * (x - at.alpha * MEAN), conversion("x0", at)))
    assert torch.allclose(executor.x[0], mean + variance.sqrt(), rtol=0, atol=1e-12)
