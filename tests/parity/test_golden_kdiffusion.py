"""k-diffusion's samplers in σ̃, on its Karras grid from 14.6146 to 0.0292 and then zero."""

from __future__ import annotations

from collections.abc import Callable

from diffdescent.grid import make_grid
from diffdescent.process import VE
from diffdescent.solvers import SOLVERS, Solver
from diffdescent.solvers.ddim import DDIM
from diffdescent.solvers.dpm import DPM, DPMpp
from diffdescent.solvers.edm import Euler, Heun

from .golden import Case, cases, compare, error, run, start

SAMPLERS: dict[str, Callable[[float], Solver]] = {
    "sample_euler": lambda eta: Euler(),
    "sample_euler_ancestral": lambda eta: DDIM(eta=eta),
    "sample_heun": lambda eta: Heun(),
    "sample_dpm_2": lambda eta: DPM(method="singlestep"),
    "sample_dpmpp_2m": lambda eta: DPMpp(lower_order_final="never"),
    "sample_dpmpp_2s_ancestral": lambda eta: DPMpp(method="singlestep", noise="ancestral", eta=eta),
    "sample_dpmpp_sde": lambda eta: DPMpp(method="singlestep", eta=eta),
    "sample_lms": lambda eta: SOLVERS["ab"](order=4),
}


@cases("k_diffusion")
def test_sampler(case: Case) -> None:
    o = case.options
    grid = make_grid("karras", VE(), o["n"], start=o["sigma_max"], last=o["sigma_min"], rho=o["rho"])
    assert error(grid.ratio, case["grid_sigma"]) < 1e-12
    solver = SAMPLERS[o["sampler"]](o["eta"] or 0.0)
    noise = case.noise()
    compare(case, ours := run(solver.plan(grid), start(grid.ratio[0]), noise=noise), states=ours.steps)
    assert noise.used == len(noise.index)
