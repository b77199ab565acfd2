"""Metrics of posterior samples: exact samples are faultless, and each fault is seen by its
metric."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent import UserError
from diffdescent.base.statistics import Estimate
from diffdescent.core.operators import Linear, parse_operator
from diffdescent.evaluate.posterior import (
    POSTERIOR_METRICS,
    judge_posterior,
    register_posterior,
)
from diffdescent.models.mixture import Mixture
from diffdescent.models.posterior import Posterior, posterior

F64 = torch.float64
SHAPE = (1, 4, 6)
NOISE = 0.3
OPERATOR = "downsample(2)"


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def operator() -> Linear:
    bound = parse_operator(OPERATOR).bind(SHAPE, dtype=F64)
    assert isinstance(bound, Linear)
    return bound


def problem(noise: float = NOISE, count: int = 16) -> tuple[Posterior, Tensor]:
    model = Mixture(
        torch.tensor([0.4, 0.6], dtype=F64),
        0.7 * drawn(2, *SHAPE),
        0.05 + 0.2 * drawn(2, *SHAPE, seed=2).abs(),
        dd.VP.named("linear"),
    )
    y = operator().forward(model.sample(count, torch.Generator().manual_seed(3)))
    y = y + noise * drawn(*y.shape, seed=4)
    return posterior(model, OPERATOR, y, noise), y


def judged(
    samples: Tensor, truth: Posterior, y: Tensor, noise: float = NOISE
) -> dict[str, Estimate]:
    return judge_posterior(samples, truth, operator(), y, noise, seed=5)


@pytest.mark.parametrize("noise", [NOISE, 0.0])
def test_exact_samples_are_faultless(noise: float) -> None:
    truth, y = problem(noise)
    found = judged(truth.sample(60, seed=77), truth, y, noise)
    assert set(found) == set(POSTERIOR_METRICS)
    for name, estimate in found.items():
        ideal = POSTERIOR_METRICS[name].ideal
        slack = max(2 * estimate.half_width, 1e-6)
        assert abs(estimate.value - ideal) < slack, (name, estimate)
        assert estimate.half_width < 0.2, (name, estimate)


def test_a_shifted_mean_is_seen() -> None:
    truth, y = problem()
    samples = truth.sample(60, seed=77)
    size = truth.mean.flatten(1).norm(dim=1).view(1, -1, 1, 1, 1)
    shift = 0.1 * size / samples[0, 0].numel() ** 0.5
    found = judged(samples + shift, truth, y)
    assert found["mean_error"].value == pytest.approx(0.01, rel=0.5)
    assert found["spread"].value == pytest.approx(1, abs=0.05)


def test_too_narrow_samples_are_seen() -> None:
    truth, y = problem()
    narrow = truth.mean + 0.5 * (truth.sample(60, seed=77) - truth.mean)
    found = judged(narrow, truth, y)
    assert found["spread"].value == pytest.approx(0.5, abs=0.05)
    assert found["coverage50"].high < 0.4
    assert found["coverage90"].high < 0.75
    assert found["swd"].low > 0.05
    assert found["mean_error"].contains(0) or abs(found["mean_error"].value) < 2e-3


def test_residuals_say_who_fits_noise_and_who_misses_y() -> None:
    truth, y = problem()
    a, samples = operator(), truth.sample(30, seed=77)
    flat = samples.flatten(0, 1)
    fitted = a.project(flat, y.repeat(30, 1, 1, 1)).view_as(samples)
    assert judged(fitted, truth, y)["residual"].value < 1e-6
    prior = truth.model.sample(30 * len(y), torch.Generator().manual_seed(8))
    assert judged(prior.view_as(samples), truth, y)["residual"].low > 1.5
    exact, clean = problem(0.0)
    off = exact.sample(30, seed=1) * 1.02
    assert judged(off, exact, clean, 0.0)["residual"].value == pytest.approx(1.02, abs=1e-6)


def test_coverage_of_few_samples_is_that_of_further_ones() -> None:
    """19 samples hold the next one with exactly 90 % between the first and the last."""
    truth, y = problem(count=40)
    found = judged(truth.sample(19, seed=77), truth, y)
    assert found["coverage90"].contains(0.9) or abs(found["coverage90"].value - 0.9) < 0.01
    assert abs(found["coverage50"].value - 0.5) < 0.03
    assert "coverage90" not in judged(truth.sample(18, seed=77), truth, y)


def test_what_cannot_be_judged_is_refused() -> None:
    truth, y = problem(count=2)
    samples = truth.sample(4)
    with pytest.raises(UserError, match=r"have shape \(n, 2, 1, 4, 6\)"):
        judge_posterior(samples[:, :1], truth, operator(), y, NOISE)
    with pytest.raises(UserError, match="has diverged"):
        judge_posterior(samples * torch.nan, truth, operator(), y, NOISE)
    with pytest.raises(UserError, match="did you mean 'spread'"):
        judge_posterior(samples, truth, operator(), y, NOISE, metrics=["spred"])
    with pytest.raises(UserError, match="at least 19 samples"):
        judge_posterior(samples, truth, operator(), y, NOISE, metrics=["coverage90"])
    with pytest.raises(UserError, match="taken"):
        register_posterior("swd", "again", ideal=0)(lambda task: task.y)
