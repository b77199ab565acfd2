"""Signed error constants: the error of a transformed Euler method over Euler's own, on a grid
uniform in σ̃.

Momentum in the coordinates of its base step (VE) is the two-step method ρ(z) = (z − 1)(z − β),
whose constant is (1 + β)/(1 − β) times Euler's; gradient estimation with a fixed γ is ē = e + (γ −
1)(e − e_prev), which adds (γ − 1)·h·e' where h·e'/2 is wanted, so that its constant is (3 − 2γ)
times Euler's. Signed: β = −1 and γ = 1.5 are second order, beyond it the sign turns.
"""

from __future__ import annotations

import pytest
import torch

from diffdescent.core.solvers import SOLVERS
from diffdescent.core.solvers.ddim import DDIM
from diffdescent.core.transforms import GradientEstimation, Momentum, Transform
from tests.order.measure import signed_error, slopes

N = 768


def ratio(transform: Transform) -> torch.Tensor:
    """Signed error over Euler's, per coordinate, extrapolated to N → ∞ from N/2 and N."""

    def at(n: int) -> torch.Tensor:
        plain = signed_error(DDIM(), "uniform", n, cold=True)
        return signed_error(DDIM(), "uniform", n, cold=True, transforms=[transform]) / plain

    return 2 * at(N) - at(N // 2)


@pytest.mark.parametrize(("beta", "constant"), [(0.2, 1.50), (-0.3, 0.54), (-0.8, 0.11)])
def test_momentum_in_ve_coordinates(beta: float, constant: float) -> None:
    measured = ratio(Momentum(beta, warm_start=True, coords="ve"))
    expected = (1 + beta) / (1 - beta)
    assert expected == pytest.approx(constant, abs=0.005)
    assert torch.allclose(measured, torch.full_like(measured, expected), rtol=0.05, atol=0)


@pytest.mark.parametrize("gamma", [0.5, 1.25, 2.0, 2.4])
def test_fixed_gamma(gamma: float) -> None:
    measured = ratio(GradientEstimation(gamma))
    assert torch.allclose(measured, torch.full_like(measured, 3 - 2 * gamma), rtol=0.05, atol=0)


def test_gamma_three_halves_is_adams_bashforth_two() -> None:
    """At γ = 1.5 the first-order constant vanishes: it is AB2, step by step (up to how the sums are
    rounded)."""
    bashforth = SOLVERS["ab"](order=2)  # type: ignore[call-arg]
    for n in (12, 48):
        estimated = signed_error(
            DDIM(), "uniform", n, cold=True, transforms=[GradientEstimation(1.5)]
        )
        assert torch.allclose(
            estimated, signed_error(bashforth, "uniform", n, cold=True), rtol=0, atol=1e-13
        )
    linear, bent = slopes(
        lambda n: signed_error(
            DDIM(), "uniform", n, cold=True, transforms=[GradientEstimation(1.5)]
        )
    )
    assert linear == pytest.approx(2, abs=0.15)
    assert bent == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("spacing", ["uniform", "smooth", "alternating"])
@pytest.mark.parametrize(
    "transform",
    [
        Momentum(0.2),
        Momentum(-0.3),
        Momentum(-0.8),
        Momentum(0.2, coords="ve"),
        GradientEstimation(2.0),
    ],
    ids=repr,
)
def test_transforms_leave_a_first_order_method(transform: Transform, spacing: str) -> None:
    """In VP coordinates, or on uneven steps, only the order is fixed."""
    linear, bent = slopes(
        lambda n: signed_error(DDIM(), spacing, n, cold=True, transforms=[transform])  # type: ignore[arg-type]
    )
    assert linear == pytest.approx(1, abs=0.15)
    assert bent == pytest.approx(1, abs=0.15)
