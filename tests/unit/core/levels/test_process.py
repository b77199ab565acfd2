"""Processes: α, σ, their inverses and their limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import diffdescent as dd
from diffdescent.core.process import make_betas
from tests.sub_vp import SubVP

SCHEDULES = ("linear", "scaled_linear", "cosine", "sigmoid")
PROCESSES = {name: dd.VP.named(name) for name in SCHEDULES} | {  # type: ignore[arg-type]
    "continuous": dd.VPContinuous(), "ve": dd.VE(), "flow": dd.Flow(), "sub-vp": SubVP(),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_time_and_ratio_are_inverse(name: str) -> None:
    process = PROCESSES[name]
    t = np.linspace(process.t_min, process.t_max, 733)
    inside = np.isfinite(process.ratio(t))
    np.testing.assert_allclose(
        process.t_of_ratio(process.ratio(t))[inside], t[inside], rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        process.t_of_lambda(-np.log(process.ratio(t)))[inside], t[inside], rtol=1e-9, atol=1e-9
    )
    assert np.all(np.diff(process.ratio(t)) > 0)


@pytest.mark.parametrize("name", sorted(PROCESSES))
@given(log_ratio=st.floats(-8, 8))
def test_scaled_levels_have_the_ratio_and_the_norm(name: str, log_ratio: float) -> None:
    process, ratio = PROCESSES[name], math.exp(log_ratio)
    alpha, sigma = process.scaled(ratio)
    assert math.isclose(float(sigma / alpha), ratio, rel_tol=1e-12)
    point = dd.Point(0.0, float(alpha), float(sigma))
    if isinstance(process, (dd.VP, dd.VPContinuous)):
        assert math.isclose(point.norm, 1, rel_tol=1e-14)
    elif isinstance(process, dd.VE):
        assert alpha == 1
    elif isinstance(process, SubVP):
        assert math.isclose(alpha**2 + sigma, 1, rel_tol=1e-14)
    else:
        assert math.isclose(alpha + sigma, 1, rel_tol=1e-14)


@pytest.mark.parametrize("name", sorted(PROCESSES))
def test_the_slope_of_the_ratio(name: str) -> None:
    process = PROCESSES[name]
    # Between two trained indices log ᾱ is linear, so the derivative is smooth there.
    t = process.t_min + (process.t_max - process.t_min) * np.array([0.1003, 0.5001, 0.9002])
    h = 1e-5 * (process.t_max - process.t_min) / 1000
    numeric = (process.ratio(t + h) - process.ratio(t - h)) / (2 * h)
    np.testing.assert_allclose(process.ratio_slope(t), numeric, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(PROCESSES))
@pytest.mark.parametrize("ratio", [0.02, 0.7, 9.0])
def test_the_slope_of_log_alpha(name: str, ratio: float) -> None:
    process, h = PROCESSES[name], 1e-5 * ratio
    numeric = np.diff(np.log(process.scaled([ratio - h, ratio + h])[0]))[0] / (2 * h)
    alpha, sigma = map(float, process.scaled(ratio))
    at = dd.Point(float(process.t_of_ratio(ratio)), alpha, sigma)
    assert process.log_alpha_slope(at) == pytest.approx(float(numeric), rel=1e-7, abs=1e-9)


def test_vp_is_the_cumulative_product() -> None:
    process = dd.VP.named("linear")
    np.testing.assert_allclose(
        process.alpha_bar, np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), rtol=1e-12
    )
    alpha, sigma = process.alpha_sigma(np.arange(1000))
    np.testing.assert_allclose(alpha**2, process.alpha_bar, rtol=1e-12)
    np.testing.assert_allclose(alpha**2 + sigma**2, 1, rtol=1e-14)
    # Half-way between indices log ᾱ is the mean.
    between = process.alpha_sigma(499.5)[0] ** 2
    assert math.isclose(
        between, math.sqrt(process.alpha_bar[499] * process.alpha_bar[500]), rel_tol=1e-12
    )


def test_vp_ends_at_the_data_one_index_below_the_first() -> None:
    process = dd.VP.named("linear")
    assert process.point(-1) == dd.Point(-1.0, 1.0, 0.0)
    assert process.t_of_ratio(0.0) == -1
    assert process.point(-1).lam == math.inf


def test_zero_terminal_snr() -> None:
    process = dd.VP.from_alpha_bar(np.array([0.9, 0.5, 0.1, 0.0]))
    point = process.point(3)
    assert (point.alpha, point.sigma, point.ratio, point.lam) == (0.0, 1.0, math.inf, -math.inf)
    np.testing.assert_allclose(process.alpha_sigma(1.5)[0] ** 2, math.sqrt(0.05))
    assert process.t_of_ratio(math.inf) == 3


def test_from_alpha_bar_gives_it_back() -> None:
    bar = np.sort(np.random.default_rng(0).uniform(0.01, 0.99, 50))[::-1]
    np.testing.assert_allclose(dd.VP.from_alpha_bar(bar).alpha_bar, bar, rtol=1e-12)


def test_continuous_vp_is_the_limit_of_the_discrete_one() -> None:
    fine = dd.VP(make_betas("linear", 100_000, 1e-6, 2e-4))
    t = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(
        dd.VPContinuous().alpha_sigma(t)[0], fine.alpha_sigma(t * 1e5 - 1)[0], rtol=5e-4
    )


def test_flow_shift_moves_times_not_the_path() -> None:
    flow = dd.Flow(shift=3.0)
    assert flow.alpha_sigma(0.25) == dd.Flow().alpha_sigma(0.25)
    np.testing.assert_allclose(flow.shifted([0.0, 0.5, 1.0]), [0, 0.75, 1])


@pytest.mark.parametrize(
    "call",
    [
        lambda: dd.VP.named("wavy"),
        lambda: dd.VP(np.array([0.1, 1.5])),
        lambda: dd.VP(np.array([[0.1, 0.2]])),
        lambda: dd.Flow(shift=0),
    ],
)
def test_mistakes(call: object) -> None:
    with pytest.raises(dd.UserError):
        call()  # type: ignore[operator]
