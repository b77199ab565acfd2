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


@pytest.mark.parametrize("cold", [False, True], ids=["interior", "cold"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("solver", solvers(deterministic))
def test_order_is_the_declared_one(solver: Solver, spacing: Spacing, cold: bool) -> None:
    linear, bent = slopes(lambda n: signed_error(solver, spacing, n, cold=cold))
    declared = solver.order_on(spacing, cold)
    assert linear == pytest.approx(declared, abs=TOLERANCE), f"on Gaussians (mixtures: {bent:.2f})"
    assert bent == pytest.approx(declared, abs=TOLERANCE), f"on mixtures (Gaussians: {linear:.2f})"


def first_variant(name: str) -> Solver:
    return next(p.values[0] for p in solvers(deterministic) if p.values[0].name == name)


NAMES = sorted({p.values[0].name for p in solvers(deterministic)})


@pytest.mark.parametrize("process", [VE(), Flow(), SubVP()], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("name", NAMES)
def test_order_does_not_depend_on_the_process(name: str, process: Process) -> None:
    solver = first_variant(name)
    linear, bent = slopes(lambda n: signed_error(solver, "uniform", n, cold=False, process=process))
    assert linear == pytest.approx(solver.order_on("uniform"), abs=TOLERANCE)
    assert bent == pytest.approx(solver.order_on("uniform"), abs=TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_inversion_has_the_order_of_sampling(name: str) -> None:
    """The same levels upwards, image to noise."""
    solver = first_variant(name)
    linear, bent = slopes(lambda n: signed_error(solver, "uniform", n, cold=False, inverse=True))
    assert linear == pytest.approx(solver.order_on("uniform"), abs=TOLERANCE)
    assert bent == pytest.approx(solver.order_on("uniform"), abs=TOLERANCE)


def test_the_midpoint_rule_is_why_mixtures_are_needed() -> None:
    """On Gaussians the midpoint rule in σ̃ converges at order 3 by accident; its order is 2, as a
    bent flow shows."""
    midpoint = build("heun", {"alpha": 0.5})
    linear, bent = slopes(lambda n: signed_error(midpoint, "uniform", n, cold=True))
    assert linear == pytest.approx(3, abs=TOLERANCE)
    assert bent == pytest.approx(midpoint.order_on("uniform", cold=True), abs=TOLERANCE)


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
