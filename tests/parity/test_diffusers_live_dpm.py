"""diffusers' λ- and σ̃-schedulers side by side with ours, in float64, from the same noise, with the
exact denoiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from diffdescent.core.grid import Grid, explicit_ratios
from diffdescent.core.process import VE, VP
from diffdescent.core.solvers import Solver
from diffdescent.core.solvers.ddim import DDIM
from diffdescent.core.solvers.dpm import DPM, DPMpp
from diffdescent.core.solvers.edm import Euler, Heun
from diffdescent.core.solvers.unipc import UniPC
from tests.parity.golden import Replay, error, run, start
from tests.parity.live import DRAWS, SPACINGS, TOLERANCE, theirs
from tests.parity.multistep import diffusers_levels

pytest.importorskip("diffusers")
pytestmark = [  # diffusers' use of numpy, and its announcement that "dpmsolver" goes
    pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*algorithm_type.*:FutureWarning"),
]


def check(solver: Solver, grid: Grid, expected: Tensor) -> None:
    x = start(grid.sigma[0] if isinstance(grid.process, VE) else 1.0)
    ours = run(solver.plan(grid), x, noise=Replay(DRAWS))
    assert error(ours.final, expected) < TOLERANCE


def vp_grid(scheduler: Any) -> Grid:
    return explicit_ratios(VP.named(), scheduler.sigmas.numpy())


LAYOUTS = [("leading", 7), ("linspace", 16), ("trailing", 2), ("trailing", 16)]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [5, 16, 23])
@pytest.mark.parametrize("final", ["zero", "sigma_min"])
def test_grid_builder(scheduler: Callable[..., Any], spacing: str, steps: int, final: str) -> None:
    made = scheduler(
        "dpmsolver_multistep",
        "DPMSolverMultistepScheduler",
        steps,
        timestep_spacing=spacing,
        final_sigmas_type=final,
    )
    grid = diffusers_levels(VP.named(), steps, spacing, final)
    assert np.array_equal(grid.t[:-1], made.timesteps.numpy())
    assert np.allclose(grid.ratio, made.sigmas.numpy(), rtol=1e-9, atol=0)


@pytest.mark.parametrize(("spacing", "steps"), LAYOUTS)
@pytest.mark.parametrize(
    ("algorithm", "order", "variant", "final"),
    [
        ("dpmsolver++", 1, "midpoint", "zero"),
        ("dpmsolver++", 2, "midpoint", "zero"),
        ("dpmsolver++", 2, "heun", "sigma_min"),
        ("dpmsolver++", 3, "midpoint", "zero"),
        ("dpmsolver", 2, "midpoint", "sigma_min"),
        ("dpmsolver", 3, "heun", "sigma_min"),
        ("sde-dpmsolver++", 1, "midpoint", "zero"),
        ("sde-dpmsolver++", 2, "heun", "zero"),
        ("sde-dpmsolver++", 2, "midpoint", "sigma_min"),
        ("sde-dpmsolver", 2, "midpoint", "sigma_min"),
        ("sde-dpmsolver", 2, "heun", "sigma_min"),
    ],
)
def test_multistep(
    scheduler: Callable[..., Any],
    spacing: str,
    steps: int,
    algorithm: str,
    order: int,
    variant: str,
    final: str,
) -> None:
    made = scheduler(
        "dpmsolver_multistep",
        "DPMSolverMultistepScheduler",
        steps,
        timestep_spacing=spacing,
        algorithm_type=algorithm,
        solver_order=order,
        solver_type=variant,
        final_sigmas_type=final,
    )
    solver = (DPMpp if algorithm.endswith("++") else DPM)(
        order=order,
        variant=variant,
        eta=float(algorithm.startswith("sde")),
        lower_order_final="always" if steps < 15 else "never",
        released=True,
    )
    check(solver, vp_grid(made), theirs(made, VP.named()))


@pytest.mark.parametrize("config", [{"use_karras_sigmas": True}, {"use_exponential_sigmas": True}])
def test_multistep_euler_at_final(scheduler: Callable[..., Any], config: dict[str, bool]) -> None:
    options = {
        "euler_at_final": True,
        "lower_order_final": False,
        "final_sigmas_type": "sigma_min",
        **config,
    }
    made = scheduler("dpmsolver_multistep", "DPMSolverMultistepScheduler", 9, **options)
    made.sigmas[-1] = (
        made.sigmas[-2] / 2
    )  # Karras's lowest level is the end itself: a step of no length
    check(DPMpp(lower_order_final="last"), vp_grid(made), theirs(made, VP.named()))


def spans(order_list: list[int]) -> tuple[int, ...]:
    """The orders of diffusers' single steps: it lists 1, 2, …, p for the evaluations of a step of
    order p."""
    ends = [
        p for p, following in zip(order_list, [*order_list[1:], 1], strict=True) if following == 1
    ]
    return tuple(ends)


@pytest.mark.parametrize("steps", [6, 7, 11])
@pytest.mark.parametrize(
    ("algorithm", "order", "variant", "final"),
    [
        ("dpmsolver++", 2, "midpoint", "zero"),
        ("dpmsolver++", 2, "heun", "sigma_min"),
        ("dpmsolver++", 3, "heun", "zero"),  # its order 3 "midpoint" has a lower-order second stage
        ("dpmsolver", 2, "midpoint", "sigma_min"),
        ("dpmsolver", 3, "heun", "sigma_min"),
        ("sde-dpmsolver++", 2, "midpoint", "zero"),
    ],
)
def test_singlestep(
    scheduler: Callable[..., Any], steps: int, algorithm: str, order: int, variant: str, final: str
) -> None:
    made = scheduler(
        "dpmsolver_singlestep",
        "DPMSolverSinglestepScheduler",
        steps,
        algorithm_type=algorithm,
        solver_order=order,
        solver_type=variant,
        final_sigmas_type=final,
        lower_order_final=True,
    )
    solver = (DPMpp if algorithm.endswith("++") else DPM)(
        order=order,
        variant=variant,
        method="singlestep",
        inner="grid",
        orders=spans(made.order_list),
        eta=float(algorithm.startswith("sde")),
    )
    check(solver, vp_grid(made), theirs(made, VP.named()))


@pytest.mark.parametrize(("spacing", "steps"), LAYOUTS)
@pytest.mark.parametrize(
    ("order", "variant", "predict_x0", "final"),
    [
        (1, "bh2", True, "zero"),
        (2, "bh2", True, "zero"),
        (2, "bh1", True, "sigma_min"),
        (3, "bh2", True, "zero"),
        (3, "bh1", False, "sigma_min"),
        (2, "bh2", False, "sigma_min"),
    ],
)
def test_unipc(
    scheduler: Callable[..., Any],
    spacing: str,
    steps: int,
    order: int,
    variant: str,
    predict_x0: bool,
    final: str,
) -> None:
    made = scheduler(
        "unipc_multistep",
        "UniPCMultistepScheduler",
        steps,
        timestep_spacing=spacing,
        solver_order=order,
        solver_type=variant,
        predict_x0=predict_x0,
        final_sigmas_type=final,
    )
    solver = UniPC(order=order, variant=variant, basis="x0" if predict_x0 else "eps")
    check(solver, vp_grid(made), theirs(made, VP.named()))


@pytest.mark.parametrize("disabled", [[], [0], [0, 1, 4]])
def test_unipc_without_some_corrections(scheduler: Callable[..., Any], disabled: list[int]) -> None:
    made = scheduler(
        "unipc_multistep",
        "UniPCMultistepScheduler",
        8,
        solver_order=3,
        disable_corrector=disabled,
        lower_order_final=False,
        final_sigmas_type="sigma_min",
    )
    solver = UniPC(order=3, disable_corrector=tuple(disabled), lower_order_final="never")
    check(solver, vp_grid(made), theirs(made, VP.named()))


@pytest.mark.parametrize("steps", [3, 10])
@pytest.mark.parametrize(
    ("module", "name", "solver", "config"),
    [
        ("euler_discrete", "EulerDiscreteScheduler", Euler(), {"timestep_spacing": "linspace"}),
        ("euler_discrete", "EulerDiscreteScheduler", Euler(), {"use_karras_sigmas": True}),
        (
            "euler_ancestral_discrete",
            "EulerAncestralDiscreteScheduler",
            DDIM(eta=1.0),
            {"timestep_spacing": "leading"},
        ),
        ("heun_discrete", "HeunDiscreteScheduler", Heun(), {"timestep_spacing": "trailing"}),
        ("heun_discrete", "HeunDiscreteScheduler", Heun(), {"use_karras_sigmas": True}),
        ("k_dpm_2_discrete", "KDPM2DiscreteScheduler", DPM(method="singlestep"), {}),
        (
            "k_dpm_2_ancestral_discrete",
            "KDPM2AncestralDiscreteScheduler",
            DPM(method="singlestep", eta=1.0, noise="ancestral"),
            {"use_karras_sigmas": True},
        ),
    ],
)
def test_sigma_schedulers(
    scheduler: Callable[..., Any],
    module: str,
    name: str,
    solver: Solver,
    config: dict[str, Any],
    steps: int,
) -> None:
    made = scheduler(module, name, steps, **config)

    def level(s: Any, i: int) -> float:
        if getattr(s, "state_in_first_order", True) or not hasattr(s, "sigmas_interpol"):
            return float(s.sigmas[s.step_index])
        return float(s.sigmas_interpol[s.step_index - ("Ancestral" in name)])

    # Two-stage schedulers list a level once per evaluation.
    grid = explicit_ratios(VE(), np.unique(made.sigmas.numpy())[::-1])
    assert grid.steps == steps
    check(solver, grid, theirs(made, VE(), level))
