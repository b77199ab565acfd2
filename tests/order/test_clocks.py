"""Euler and Heun along the process's own time: the native probability-flow ODE of any process,
against the closed form of the flow."""

from __future__ import annotations

import pytest

from diffdescent.core.process import VE, Flow, Process, VPContinuous
from tests.order.measure import signed_error, slopes
from tests.registry import build
from tests.sub_vp import SubVP

PROCESSES = [VPContinuous(), VE(), Flow(), SubVP()]


@pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize(("name", "order", "near"), [("euler", 1, 6e-3), ("heun", 2, 2e-5)])
def test_the_native_ode_converges_to_the_exact_flow(
    process: Process, name: str, order: int, near: float
) -> None:
    solver = build(name, {"clock": "time"})
    linear, bent = slopes(lambda n: signed_error(solver, "uniform", n, cold=True, process=process))
    assert linear == pytest.approx(order, abs=0.15)
    assert bent == pytest.approx(order, abs=0.15)
    # A slope that is wrong by 0.6 % would end 1e-3 away, whatever the number of steps.
    error = signed_error(solver, "uniform", 192, cold=True, process=process)
    assert float(error.abs().max()) < near
