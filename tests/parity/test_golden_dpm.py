"""DPM-Solver and DPM-Solver++ as released (all methods, taylor, denoise_to_zero), and as diffusers
has them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from diffdescent.core.grid import Grid, make_grid
from diffdescent.core.process import VP, Point
from diffdescent.core.solvers.dpm import DPM, DPMpp
from diffdescent.core.solvers.single_steps import singlestep_orders
from tests.parity.golden import Case, cases, compare, run, start
from tests.parity.multistep import diffusers_grid, run_committed

SKIPS: dict[str, tuple[str, dict[str, Any]]] = {
    "time_uniform": (
        "uniform",
        {"spacing": "linspace", "open": True, "snap": False, "end": "first"},
    ),
    "time_quadratic": ("quadratic_time", {}),
    "logSNR": ("logsnr", {}),
}


def skip_grid(skip: str, process: VP, steps: int) -> Grid:
    """The released ``get_time_steps(skip, t_T=1, t_0=1e-3, steps)``."""
    name, options = SKIPS[skip]
    return make_grid(name, process, steps, **options)


def to_zero(grid: Grid) -> Grid:
    """``denoise_to_zero``: one more step, from the grid's end to σ = 0."""
    levels = (
        np.append(a, b)
        for a, b in zip((grid.t, grid.alpha, grid.sigma), Point(-1.0, 1.0, 0.0), strict=True)
    )
    return Grid(grid.process, *levels)


@cases("dpm_solver")
def test_released(case: Case) -> None:
    options, process = case.options, case.process()
    solver = {"dpmsolver": DPM, "dpmsolver++": DPMpp}[options["algorithm_type"]]
    common: dict[str, Any] = {
        "order": options["order"],
        "variant": {"dpmsolver": "midpoint", "taylor": "heun"}[options["solver_type"]],
    }
    skip, steps, order = options["skip_type"], options["steps"], options["order"]
    if options["method"] == "multistep":
        grid = skip_grid(skip, process, steps)
        common |= {
            "released": True,
            "lower_order_final": "auto" if options["lower_order_final"] else "never",
        }
    else:
        fixed = options["method"] == "singlestep_fixed"
        orders = (order,) * (steps // order) if fixed else singlestep_orders(steps, order)
        assert orders == tuple(case["orders"])
        # Levels by time: a step's inner levels are those of the grid with one level per evaluation.
        inner = "lambda" if skip == "logSNR" else "grid"
        grid = skip_grid(skip, process, len(orders) if skip == "logSNR" else sum(orders))
        if options["denoise_to_zero"]:
            orders += (1,)
        common |= {"method": "singlestep", "inner": inner, "orders": orders}
    if options["denoise_to_zero"]:
        grid = to_zero(grid)
    ours, states = run_committed(solver(**common).plan(grid), start())
    compare(case, ours, states=states[: len(case["x"])])


@cases("diffusers", lambda entry: entry["options"]["scheduler"] == "DPMSolverMultistepScheduler")
def test_diffusers(case: Case) -> None:
    options = case.options
    algorithm = options["algorithm_type"]
    solver = (DPM if algorithm == "dpmsolver" else DPMpp)(
        order=options["solver_order"],
        variant=options.get("solver_type", "midpoint"),
        lower_order_final="always" if options["num_inference_steps"] < 15 else "never",
        eta=float(algorithm.startswith("sde")),
        released=True,
    )
    compare(case, run(solver.plan(diffusers_grid(case)), start(), noise=case.noise()))


@pytest.mark.parametrize(
    ("evaluations", "order", "expected"),
    [
        (6, 3, (3, 2, 1)),
        (7, 3, (3, 3, 1)),
        (8, 3, (3, 3, 2)),
        (3, 3, (2, 1)),
        (6, 2, (2, 2, 2)),
        (7, 2, (2, 2, 2, 1)),
    ],
)
def test_orders_spend_the_budget(evaluations: int, order: int, expected: tuple[int, ...]) -> None:
    assert singlestep_orders(evaluations, order) == expected
    assert sum(expected) == evaluations
