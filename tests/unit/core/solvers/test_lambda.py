"""The λ-solvers' shared mathematics, their rows at infinite λ, and what they refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid, explicit, explicit_ratios
from diffdescent.core.process import VE, Flow, VPContinuous
from diffdescent.core.solvers.dpm import DPM, DPMpp
from diffdescent.core.solvers.edm import Euler, Heun
from diffdescent.core.solvers.exponential import LambdaStep, phi, polynomial_weights
from diffdescent.core.solvers.unipc import UniPC

LADDER = explicit_ratios(VPContinuous(), np.geomspace(20.0, 0.05, 8))


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("z", [-30.0, -2.1, -1.9, -1e-3, 1e-9, 0.3, 1.99, 2.01, 6.0])
def test_phi_is_its_integral(k: int, z: float) -> None:
    value, _ = quad(
        lambda u: math.exp((1 - u) * z) * u ** (k - 1) / math.factorial(k - 1), 0, 1, epsrel=1e-13
    )
    assert phi(k, z) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("basis", ["x0", "eps"])
def test_a_polynomial_network_is_integrated_exactly(basis: Any) -> None:
    src, dst = LADDER.points[3], LADDER.points[4]
    past = [LADDER.points[2], LADDER.points[1]]
    step = LambdaStep(src, dst, basis)
    evals = step.evals(polynomial_weights(step.nodes(past), step.z))

    def network(lam: float) -> float:
        return 0.3 - 0.8 * lam + 0.4 * lam**2

    total = sum(c * network(p.lam) for c, p in zip(evals, [src, *past], strict=True))
    sign, weight = (1, dst.alpha) if basis == "x0" else (-1, -dst.sigma)
    exact, _ = quad(
        lambda u: math.exp(-sign * (dst.lam - u)) * network(u), src.lam, dst.lam, epsrel=1e-13
    )
    assert total == pytest.approx(weight * exact, rel=1e-11)


def pure_noise_to_data(steps: int) -> Grid:
    return explicit(Flow(), np.linspace(1.0, 0.0, steps + 1))


SOLVERS: list[Any] = [
    DPM(order=3),
    DPMpp(order=3),
    DPMpp(order=3, method="singlestep"),
    DPMpp(order=3, method="singlestep", inner="grid"),
    DPMpp(eta=1.0),
    UniPC(order=3),
    UniPC(order=3, basis="eps"),
    Heun(),
    Euler(),
]


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
@pytest.mark.parametrize("steps", [1, 2, 3, 12])
@pytest.mark.parametrize("backwards", [False, True])
def test_rows_at_infinite_lambda_are_first_order(solver: Any, steps: int, backwards: bool) -> None:
    grid = pure_noise_to_data(steps)
    if backwards and solver.stochastic:
        with pytest.raises(UserError, match="reversed"):
            solver.plan(grid.reversed())
        return
    rows = solver.plan(grid.reversed() if backwards else grid).rows
    first, last = rows[0], rows[-1]
    assert first.basis == ("eps" if backwards else "x0")
    assert len(first.outputs[0].evals) == 1
    assert len(last.outputs[-1].evals) == 1
    if steps > 1:  # the second row starts anew
        assert len(rows[1].outputs[0].evals) == 1


def test_unipc_corrects_every_step_but_the_last() -> None:
    rows = UniPC(order=2).plan(LADDER).rows
    assert [[out.commit for out in row.outputs] for row in rows] == [
        [False],
        *[[True, False]] * 5,
        [True, True],
    ]
    assert all(len(row.outputs) == 1 for row in UniPC(order=2, corrector=False).plan(LADDER).rows)


def test_churn_is_in_the_range_that_it_is_given() -> None:
    grid = explicit_ratios(VE(), [40.0, 10.0, 1.0, 0.1, 0.0])
    plan = Heun(s_churn=1.0, s_min=0.5, s_max=20.0).plan(grid)
    assert plan.start == ()
    begins = [row.at.ratio for row in plan.rows if row.order == 1]
    assert begins == pytest.approx([40.0, 12.5, 1.25, 0.1])
    assert plan.nfe == 2 * grid.steps - 1


@pytest.mark.parametrize(
    ("solver", "options", "message"),
    [
        (DPMpp, {"order": 4}, "from 1 to 3"),
        (DPMpp, {"eta": -1.0}, "eta"),
        (DPMpp, {"eta": 1.5, "noise": "ancestral"}, "at most 1"),
        (DPM, {"method": "both"}, "multistep"),
        (DPM, {"lower_order_final": "sometimes"}, "auto"),
        (UniPC, {"variant": "bh3"}, "bh1"),
        (UniPC, {"order": 7}, "from 1 to 6"),
        (Heun, {"alpha": 0.0}, "midpoint"),
        (Euler, {"s_churn": -1.0}, "s_churn"),
        (Euler, {"clock": "wall"}, "variance"),
    ],
)
def test_bad_options_are_told(solver: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        solver(**options)


@pytest.mark.parametrize(
    "solver",
    [
        DPMpp(orders=(1, 2)),
        UniPC(orders=(1,)),
        DPM(method="singlestep", inner="grid", orders=(3, 2)),
    ],
)
def test_orders_must_fit_the_grid(solver: Any) -> None:
    with pytest.raises(UserError, match="orders"):
        solver.plan(LADDER)
