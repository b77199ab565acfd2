"""The ruler itself: denoiser and flow of the test problems against independent computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad, solve_ivp
from scipy.stats import norm

from diffdescent.core.grid import explicit_ratios
from diffdescent.core.process import VE, Flow, Process, VPContinuous
from diffdescent.models.gaussian import Gaussian
from tests.order.problems import GAUSSIANS, MEANS, VARIANCES, WEIGHTS, Problem

PROBLEM = Problem()
PROCESSES = [VE(), VPContinuous(), Flow()]


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
def test_gaussians_agree_with_the_library(process: Process) -> None:
    high, low = explicit_ratios(process, [3.0, 0.4]).points
    mean, variance = (torch.from_numpy(a[0, :GAUSSIANS]) for a in (MEANS, VARIANCES))
    model = Gaussian(mean, variance, process)
    x = PROBLEM.exact(high)
    assert torch.allclose(
        PROBLEM.x0(x, high)[:, :GAUSSIANS], model.evaluate(x[:, :GAUSSIANS], high, "x0", None)
    )
    moved = model.flow(x[:, :GAUSSIANS], high, low)
    assert torch.allclose(PROBLEM.exact(low)[:, :GAUSSIANS], moved, rtol=0, atol=1e-13)


def test_the_mixture_denoiser_is_the_posterior_mean() -> None:
    """E[x0 | x̃] by quadrature of Bayes' rule."""
    at = explicit_ratios(VPContinuous(), [0.8, 0.5]).points[0]
    x = PROBLEM.exact(at)
    for i in range(MEANS.shape[1]):
        y, parts = (
            float(x[0, i]) / at.alpha,
            list(zip(WEIGHTS[:, i], MEANS[:, i], VARIANCES[:, i], strict=True)),
        )

        def joint(
            x0: float, power: int, y: float = y, parts: list[tuple[float, float, float]] = parts
        ) -> float:
            prior = sum(w * norm.pdf(x0, m, np.sqrt(v)) for w, m, v in parts)
            return float(x0**power * prior * norm.pdf(y, x0, at.ratio))

        top, bottom = (quad(joint, -12, 12, args=(k,), epsabs=1e-13, limit=200)[0] for k in (1, 0))
        assert float(PROBLEM.x0(x, at)[0, i]) == pytest.approx(top / bottom, abs=1e-9)


def test_quantiles_follow_the_probability_flow() -> None:
    """An adaptive integration of dx̃/dσ̃ = (x̃ − E[x0 | x̃])/σ̃ ends where the quantile does."""
    high, low = explicit_ratios(VE(), [2.5, 0.4]).points

    def slope(sigma: float, y: np.ndarray) -> np.ndarray:
        at = explicit_ratios(VE(), [sigma, 0.1]).points[0]
        return (y - PROBLEM.x0(torch.from_numpy(y)[None], at).numpy()[0]) / sigma

    start = PROBLEM.exact(high)[0].numpy()
    solved = solve_ivp(
        slope, (high.sigma, low.sigma), start, method="DOP853", rtol=1e-12, atol=1e-13
    )
    assert np.allclose(solved.y[:, -1], PROBLEM.exact(low)[0].numpy(), rtol=0, atol=1e-10)
