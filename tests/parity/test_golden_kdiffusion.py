"""k-diffusion's samplers in σ̃, on its Karras grid from 14.6146 to 0.0292 and then zero."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from diffdescent.core.grid import explicit_ratios, make_grid
from diffdescent.core.process import VE
from diffdescent.core.solvers import SOLVERS, Solver
from diffdescent.core.solvers.ddim import DDIM
from diffdescent.core.solvers.dpm import DPM, DPMpp
from diffdescent.core.solvers.edm import Euler, Heun
from tests.parity.golden import Case, cases, compare, error, run, start

SAMPLERS: dict[str, Callable[[float], Solver]] = {
    "sample_euler": lambda eta: Euler(),
    "sample_euler_ancestral": lambda eta: DDIM(eta=eta),
    "sample_heun": lambda eta: Heun(),
    "sample_dpm_2": lambda eta: DPM(method="singlestep"),
    "sample_dpm_2_ancestral": lambda eta: DPM(method="singlestep", noise="ancestral", eta=eta),
    "sample_dpmpp_3m_sde": lambda eta: DPMpp(
        order=3, eta=eta, released=True, lower_order_final="never"
    ),
    "sample_dpmpp_2m": lambda eta: DPMpp(lower_order_final="never"),
    "sample_dpmpp_2s_ancestral": lambda eta: DPMpp(method="singlestep", noise="ancestral", eta=eta),
    "sample_dpmpp_sde": lambda eta: DPMpp(method="singlestep", eta=eta),
    "sample_lms": lambda eta: SOLVERS["ab"](order=4),
}


@cases("k_diffusion")
def test_sampler(case: Case) -> None:
    o = case.options
    grid = make_grid(
        "karras", VE(), o["n"], start=o["sigma_max"], last=o["sigma_min"], rho=o["rho"]
    )
    assert error(grid.ratio, case["grid_sigma"]) < 1e-12
    solver = SAMPLERS[o["sampler"]](o["eta"] or 0.0)
    noise = case.noise()
    compare(
        case, ours := run(solver.plan(grid), start(grid.ratio[0]), noise=noise), states=ours.steps
    )
    assert noise.used == len(noise.index)


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_dpmpp_3m_sde_row(eta: float) -> None:
    """k-diffusion's ``dpmpp_3m_sde``, of which no run is recorded, by its formula: h' = h(1 + η),

    x ← e^{−h'} x + (1 − e^{−h'}) D + φ2 d1 − φ3 d2 + σ √(1 − e^{−2hη}) z,  φ2 = (e^{−h'} − 1)/h' +
    1, φ3 = φ2/h' − ½.
    """
    sigma = [9.0, 5.0, 2.0, 0.7, 0.3]
    row = (
        DPMpp(order=3, eta=eta, released=True, lower_order_final="never")
        .plan(explicit_ratios(VE(), sigma))
        .rows[3]
    )
    h, h1, h2 = (math.log(a / b) for a, b in ((0.7, 0.3), (2.0, 0.7), (5.0, 2.0)))
    wide = h * (1 + eta)
    phi2 = math.expm1(-wide) / wide + 1
    phi3 = phi2 / wide - 0.5
    r0, r1 = h1 / h, h2 / h

    def step(d: list[float]) -> float:
        first, second = (d[0] - d[1]) / r0, (d[1] - d[2]) / r1
        slope = first + (first - second) * r0 / (r0 + r1)
        return -math.expm1(-wide) * d[0] + phi2 * slope - phi3 * (first - second) / (r0 + r1)

    (out,) = row.outputs
    assert out.base == pytest.approx(math.exp(-wide), rel=1e-12)
    assert out.noise == pytest.approx(0.3 * math.sqrt(-math.expm1(-2 * h * eta)), rel=1e-12)
    assert out.evals == pytest.approx(
        [step([1, 0, 0]), step([0, 1, 0]), step([0, 0, 1])], rel=1e-11
    )
