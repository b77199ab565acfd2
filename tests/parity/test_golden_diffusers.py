"""diffusers' DDIM, DDPM, PNDM and DEIS schedulers, recorded."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffdescent.core.grid import Grid, explicit, make_grid
from diffdescent.core.solvers import Solver
from diffdescent.core.solvers.adams import PLMS
from diffdescent.core.solvers.ddim import DDIM, DDPM
from diffdescent.core.solvers.deis import DEIS
from diffdescent.core.solvers.exponential import LowerOrderFinal
from diffdescent.core.solvers.pndm import PNDM
from diffdescent.core.transforms import Estimate, Threshold
from tests.parity.golden import Case, Replay, Run, cases, common, compare, run, start
from tests.parity.multistep import diffusers_levels


def _scheduler(name: str) -> pytest.MarkDecorator:
    return cases("diffusers", lambda entry: entry["options"]["scheduler"] == name)


def _grid(case: Case) -> Grid:
    options = case.options
    return make_grid(
        "uniform",
        case.process(),
        options["num_inference_steps"],
        spacing=options["timestep_spacing"],
        offset=options.get("steps_offset", 0),
        end="zero" if options.get("set_alpha_to_one", True) else "first",
    )


def _clip(case: Case) -> tuple[Estimate, ...]:
    if not case.options["clip_sample"]:
        return ()
    ddpm = case.options["scheduler"] == "DDPMScheduler"
    recompute = ddpm or case.options["step_kwargs"].get("use_clipped_model_output", False)
    return (Threshold(eps="recompute" if recompute else "keep"),)


def _run(case: Case, solver: Solver, noise: Replay) -> Run:
    """On our builder's grid; except that linspace visits 999, 888, … but steps to t − 1000//N: each
    step is a grid."""
    process, estimates = case.process(), _clip(case)
    if case.options["timestep_spacing"] != "linspace":
        grid = _grid(case)
        assert np.array_equal(grid.t[:-1], case["grid_t"])
        return run(solver.plan(grid), start(), noise=noise, estimates=estimates)
    x, whole = start(), None
    for t in case["grid_t"]:
        down = max(t - 1000 // case.options["num_inference_steps"], -1)
        part = run(solver.plan(explicit(process, [t, down])), x, noise=noise, estimates=estimates)
        whole, x = part if whole is None else whole.then(part), part.final
    assert whole is not None
    return whole


@_scheduler("DDIMScheduler")
def test_ddim(case: Case) -> None:
    compare(case, _run(case, DDIM(case.options["step_kwargs"]["eta"]), case.noise()))


@_scheduler("DDPMScheduler")
def test_ddpm(case: Case) -> None:
    noise = case.noise()
    ours = _run(case, DDPM(case.options["variance_type"].removeprefix("fixed_")), noise)
    if (
        len(noise.index) > noise.used
    ):  # its step to t = −1 adds noise too, of the variance 1e-20 at which it clamps
        last = torch.tensor(common("noise_bank")[noise.index[-1]])
        ours = Run(ours.states, ours.begins, ours.asked, ours.final + 1e-10 * last)
    compare(case, ours)


@_scheduler("PNDMScheduler")
def test_pndm(case: Case) -> None:
    grid = _grid(case)
    solver = PLMS("heun") if case.options["skip_prk_steps"] else PNDM()
    # Without an offset the leading grid reaches t = 0, from where the scheduler steps to ᾱ_0, which
    # is where it is.
    idle = len(case["grid_t"]) - solver.plan(grid).nfe
    assert idle == (case["grid_t"][-1] == 0)
    compare(case, run(solver.plan(grid), start()), idle=idle)


@_scheduler("DEISMultistepScheduler")
def test_deis(case: Case) -> None:
    steps = case.options["num_inference_steps"]
    grid = diffusers_levels(case.process(), steps, case.options["timestep_spacing"], "sigma_min")
    assert np.array_equal(grid.t[:-1], case["grid_t"])
    final: LowerOrderFinal = "always" if steps < 15 else "never"
    solver = DEIS(order=case.options["solver_order"], variant="logrho", lower_order_final=final)
    compare(case, run(solver.plan(grid), start()))


def test_replay_is_in_order() -> None:
    noise = Replay([2, 0])
    x = start()
    for i in (2, 0):
        z = noise(x, 0, 0, None, None)  # type: ignore[arg-type]
        assert torch.equal(z, torch.tensor(common("noise_bank")[i]))
