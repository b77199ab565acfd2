"""UniPC as released (bh1, bh2, varying coefficients; x0 and ε) and as diffusers has it."""

from __future__ import annotations

from typing import Any

from diffdescent.core.solvers.unipc import UniPC
from tests.parity.golden import Case, cases, compare, run, start
from tests.parity.multistep import diffusers_grid, run_committed
from tests.parity.test_golden_dpm import skip_grid, to_zero


@cases("unipc")
def test_released(case: Case) -> None:
    options = case.options
    grid = skip_grid(options["skip_type"], case.process(), options["steps"])
    assert options["lower_order_final"]
    extra: dict[str, Any] = {}
    if options["denoise_to_zero"]:
        # The released step to t_0 falls to order 1 and is not corrected although the network is
        # asked once more.
        order, steps = options["order"], grid.steps
        ramp = [min(order, steps - i) for i in range(steps)]
        extra = {"orders": (*ramp, 1), "disable_corrector": (steps - 1,)}
        grid = to_zero(grid)
    solver = UniPC(
        order=options["order"],
        variant={"vary_coeff": "vary_released"}.get(options["variant"], options["variant"]),
        basis={"data_prediction": "x0", "noise_prediction": "eps"}[options["algorithm_type"]],
        **extra,
    )
    ours, states = run_committed(solver.plan(grid), start())
    compare(case, ours, states=states[: len(case["x"])])


@cases("diffusers", lambda entry: entry["options"]["scheduler"] == "UniPCMultistepScheduler")
def test_diffusers(case: Case) -> None:
    options = case.options
    solver = UniPC(order=options["solver_order"], variant=options["solver_type"])
    compare(case, run(solver.plan(diffusers_grid(case)), start()))
