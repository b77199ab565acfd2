"""Every registered deterministic solver converges at the order that it declares, on every kind of
grid."""

from __future__ import annotations

import pytest

from diffdescent.core.process import VE, Flow, Process
from diffdescent.core.solvers import Solver, Spacing
from tests.order.measure import signed_error, slopes
from tests.registry import build, deterministic, solvers
from tests.sub_vp import SubVP

TOLERANCE = 0.15
SPACINGS: tuple[Spacing, ...] = ("uniform", "smooth", "alternating")


def check_order(measured: tuple[float, float], declared: int) -> None:
    """The slope on mixtures is the ``declared`` order, and that on Gaussians is no lower: their
    flow is linear, and a method may by accident be of a higher order there."""
    linear, bent = measured
    assert bent == pytest.approx(declared, abs=TOLERANCE), f"on mixtures (Gaussians: {linear:.2f})"
    assert linear > declared - TOLERANCE, f"on Gaussians (mixtures: {bent:.2f})"


@pytest.mark.parametrize("cold", [False, True], ids=["interior", "cold"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("solver", solvers(deterministic))
def test_order_is_the_declared_one(solver: Solver, spacing: Spacing, cold: bool) -> None:
    measured = slopes(lambda n: signed_error(solver, spacing, n, cold=cold))
    check_order(measured, solver.order_on(spacing, cold))


def first_variant(name: str) -> Solver:
    return next(p.values[0] for p in solvers(deterministic) if p.values[0].name == name)


NAMES = sorted({p.values[0].name for p in solvers(deterministic)})


@pytest.mark.parametrize("process", [VE(), Flow(), SubVP()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("name", NAMES)
def test_order_does_not_depend_on_the_process(name: str, process: Process) -> None:
    solver = first_variant(name)
    measured = slopes(lambda n: signed_error(solver, "uniform", n, cold=False, process=process))
    check_order(measured, solver.order_on("uniform"))


@pytest.mark.parametrize("name", NAMES)
def test_inversion_has_the_order_of_sampling(name: str) -> None:
    """The same levels upwards, image to noise."""
    solver = first_variant(name)
    measured = slopes(lambda n: signed_error(solver, "uniform", n, cold=False, inverse=True))
    check_order(measured, solver.order_on("uniform"))


def test_the_midpoint_rule_is_why_mixtures_are_needed() -> None:
    """On Gaussians the midpoint rule in σ̃ converges at order 3 by accident; its order is 2, as a
    bent flow shows."""
    midpoint = build("heun", {"alpha": 0.5})
    linear, bent = slopes(lambda n: signed_error(midpoint, "uniform", n, cold=True))
    assert linear == pytest.approx(3, abs=TOLERANCE)
    assert bent == pytest.approx(midpoint.order_on("uniform", cold=True), abs=TOLERANCE)
    check_order((linear, bent), 2)
    for wrong in (1, 3):
        with pytest.raises(AssertionError, match="on mixtures"):
            check_order((linear, bent), wrong)


def test_a_lower_slope_on_gaussians_is_refused() -> None:
    check_order((2.0, 2.0), 2)
    with pytest.raises(AssertionError, match="on Gaussians"):
        check_order((1.8, 2.0), 2)


@pytest.mark.parametrize("solver", solvers(deterministic))
def test_declared_orders_are_consistent(solver: Solver) -> None:
    """A cold start and uneven steps can only cost order."""
    assert solver.order_on("uniform", cold=True) == solver.cold_order
    for spacing in SPACINGS:
        assert (
            1
            <= solver.order_on(spacing, cold=True)
            <= solver.order_on(spacing)
            <= solver.order_on("uniform")
        )
