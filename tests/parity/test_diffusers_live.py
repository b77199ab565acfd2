"""diffusers' DDIM, DDPM, PNDM and DEIS schedulers run side by side with ours, in float64, from the
same noise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from torch import Tensor

from diffdescent.core.grid import Grid, explicit, make_grid
from diffdescent.core.process import VP
from diffdescent.core.solvers import Solver
from diffdescent.core.solvers.adams import PLMS
from diffdescent.core.solvers.ddim import DDIM, DDPM
from diffdescent.core.solvers.deis import DEIS
from diffdescent.core.solvers.pndm import PNDM
from diffdescent.core.transforms import Estimate, Threshold
from tests.parity.golden import Replay, error, mixture_eps, run, start
from tests.parity.live import DRAWS, SPACINGS, TOLERANCE, theirs

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array_:DeprecationWarning"
)  # diffusers' use of numpy

STEPS = [5, 10, 20]
Make = Callable[..., Any]


def reference(made: Any, **options: Any) -> Tensor:
    """The loop over a scheduler whose states are VP and whose network is told an index."""
    bar, x = VP.named().alpha_bar, start()
    for t in made.timesteps:
        alpha, sigma = np.sqrt(bar[int(t)]), np.sqrt(1 - bar[int(t)])
        x = made.step(mixture_eps(x, float(alpha), float(sigma)), t, x, **options).prev_sample
    return x


def ours(solver: Solver, grid: Grid, estimates: tuple[Estimate, ...] = ()) -> Tensor:
    return run(solver.plan(grid), start(), noise=Replay(DRAWS), estimates=estimates).final


def grid_of(made: Any, steps: int, spacing: str, end: str, **options: Any) -> Grid:
    """Our builder's grid, whose levels are among the scheduler's timesteps (PNDM's hold inner ones
    too)."""
    grid = make_grid("uniform", VP.named(), steps, spacing=spacing, end=end, **options)
    begins = made.timesteps.numpy()
    assert set(grid.t[:-1]) <= set(begins)
    assert grid.t[0] == begins[0]
    return grid


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("clip", ["none", "keep", "recompute"])
def test_ddim(scheduler: Make, steps: int, spacing: str, eta: float, clip: str) -> None:
    made = scheduler(
        "ddim", "DDIMScheduler", steps, timestep_spacing=spacing, clip_sample=clip != "none"
    )
    expected = reference(made, eta=eta, use_clipped_model_output=clip == "recompute")
    estimates = () if clip == "none" else (Threshold(eps=clip),)  # type: ignore[arg-type]
    assert (
        error(ours(DDIM(eta), grid_of(made, steps, spacing, "zero"), estimates), expected)
        < TOLERANCE
    )


@pytest.mark.parametrize("steps", STEPS)
def test_ddim_offset_to_first_alpha(scheduler: Make, steps: int) -> None:
    made = scheduler(
        "ddim", "DDIMScheduler", steps, steps_offset=1, set_alpha_to_one=False, clip_sample=False
    )
    assert (
        error(ours(DDIM(), grid_of(made, steps, "leading", "first", offset=1)), reference(made))
        < TOLERANCE
    )


@pytest.mark.parametrize("steps", STEPS)
def test_ddim_linspace(scheduler: Make, steps: int) -> None:
    """Its steps do not meet: it visits 999, 888, … but steps to t − 1000//N. Each is a grid of its
    own."""
    made = scheduler("ddim", "DDIMScheduler", steps, timestep_spacing="linspace", clip_sample=False)
    x = start()
    for t in made.timesteps.tolist():
        x = run(DDIM().plan(explicit(VP.named(), [t, max(t - 1000 // steps, -1)])), x).final
    assert error(x, reference(made)) < TOLERANCE


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(
    ("spacing", "variance", "tolerance"),
    # A trailing grid's last step, to t = −1, adds noise of the variance 1e-20 at which the
    # scheduler clamps.
    [("leading", "small", TOLERANCE), ("leading", "large", TOLERANCE), ("trailing", "small", 1e-9)],
)
@pytest.mark.parametrize("clip", [False, True])
def test_ddpm(
    scheduler: Make,
    steps: int,
    spacing: str,
    variance: Literal["small", "large"],
    tolerance: float,
    clip: bool,
) -> None:
    made = scheduler(
        "ddpm",
        "DDPMScheduler",
        steps,
        timestep_spacing=spacing,
        variance_type=f"fixed_{variance}",
        clip_sample=clip,
    )
    estimates = (Threshold(),) if clip else ()
    ended = ours(DDPM(variance), grid_of(made, steps, spacing, "zero"), estimates)
    assert error(ended, reference(made)) < tolerance


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(("spacing", "offset"), [("leading", 0), ("leading", 1), ("trailing", 0)])
@pytest.mark.parametrize("skip", [False, True])
def test_pndm(scheduler: Make, steps: int, spacing: str, offset: int, skip: bool) -> None:
    made = scheduler(
        "pndm",
        "PNDMScheduler",
        steps,
        timestep_spacing=spacing,
        skip_prk_steps=skip,
        steps_offset=offset,
    )
    # Without an offset the leading grid's last step goes from t = 0 to t = 0: our grid leaves it
    # out.
    grid = grid_of(made, steps, spacing, "first", offset=offset)
    assert grid.steps == steps - (spacing == "leading" and not offset)
    assert error(ours(PLMS("heun") if skip else PNDM(), grid), reference(made)) < TOLERANCE


@pytest.mark.parametrize("steps", [5, 16, 23])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_deis(scheduler: Make, steps: int, spacing: str, order: int) -> None:
    made = scheduler(
        "deis_multistep",
        "DEISMultistepScheduler",
        steps,
        timestep_spacing=spacing,
        solver_order=order,
    )
    grid = grid_of(made, steps, spacing, "first", open=spacing != "trailing")
    solver = DEIS(
        order=order, variant="logrho", lower_order_final="always" if steps < 15 else "never"
    )
    assert error(ours(solver, grid), theirs(made, VP.named())) < TOLERANCE
