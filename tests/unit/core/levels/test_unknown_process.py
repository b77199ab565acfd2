"""A process that nobody knew works with every grid and solver, or says what it lacks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

import diffdescent as dd
from diffdescent.core.grid import GRIDS, explicit, make_grid
from diffdescent.core.process import Array, Process
from diffdescent.core.recipe import Recipe, default_grid, parse
from diffdescent.core.solvers import Solver
from diffdescent.models.gaussian import Gaussian
from tests.registry import deterministic, learned, solvers
from tests.sub_vp import SubVP

PROCESS = SubVP()
MEAN = torch.tensor([0.3, -0.8, 1.1, 0.0], dtype=torch.float64)
MODEL = Gaussian(MEAN, torch.tensor([0.3, 0.6, 1.0, 2.0], dtype=torch.float64), PROCESS)


@pytest.mark.parametrize("name", sorted(GRIDS.keys() - {"explicit"}))
@pytest.mark.parametrize("steps", [1, 3, 25])
def test_every_grid(name: str, steps: int) -> None:
    grid = make_grid(name, PROCESS, steps)
    assert grid.steps == steps
    assert np.all(np.diff(grid.ratio) < 0)
    np.testing.assert_allclose(grid.alpha**2 + grid.sigma, 1, rtol=1e-12)
    inside = (grid.t >= PROCESS.t_min) & (grid.ratio < PROCESS.ratio(PROCESS.t_max))
    np.testing.assert_allclose(PROCESS.ratio(grid.t)[inside], grid.ratio[inside], rtol=1e-9)


@pytest.mark.parametrize("solver", solvers(lambda s: not learned(s)))
def test_every_solver_samples_on_its_default_grid(solver: Solver) -> None:
    recipe = Recipe(solver)
    result = dd.sample(MODEL, recipe, steps=6, n=4, seed=1, dtype=torch.float64)
    assert torch.isfinite(result.images).all()
    assert default_grid(recipe, PROCESS) == default_grid(recipe, dd.VPContinuous())


@pytest.mark.parametrize("solver", solvers(deterministic))
def test_every_solver_approaches_the_closed_form(solver: Solver) -> None:
    """Even DDIM errs by less than 2 % in a hundred steps within σ̃ = 2 … 0.3."""
    grid = explicit(PROCESS, np.linspace(*PROCESS.t_of_ratio([2.0, 0.3]), 101))
    first, last = grid.points[0], grid.points[-1]
    start = first.alpha * MEAN + first.norm * torch.tensor([[0.9, -1.1, 0.6, 1.3]])
    end = dd.sample(MODEL, Recipe(solver), grid=grid, start=start, dtype=torch.float64).images
    exact = MODEL.flow(start, first, last)
    assert float((end - exact).abs().max() / exact.abs().max()) < 0.02


def test_times_beyond_a_process_of_unknown_extent_are_refused() -> None:
    with pytest.raises(dd.UserError, match=r"between 0 \(the data\) and 1"):
        explicit(PROCESS, [1.5, 0.5, 0.1])
    assert explicit(dd.VPContinuous(), [1.5, 0.5, 0.1]).steps == 2


def test_a_process_that_leaves_an_answer_out_cannot_be_made() -> None:
    class Half(Process):
        t_min, t_max = 0.0, 1.0

    with pytest.raises(TypeError, match="log_alpha_slope"):
        Half()  # type: ignore[abstract]


@dataclass(frozen=True)
class Trained(SubVP):
    """A sub-VP network that was trained at eleven uneven times."""

    @property
    def trained_times(self) -> Array:
        return np.linspace(0.2, 1, 11) ** 2


def test_discrete_times_of_its_own() -> None:
    process, known = Trained(t_min=0.04), Trained().trained_times
    t = np.array([0.0, 0.05, 0.3, 0.97])
    for to, compare in (("noisier", np.greater_equal), ("cleaner", np.less_equal)):
        moved = process.snapped(t[1:], to)  # type: ignore[arg-type]
        assert np.isin(moved, known).all()
        assert compare(moved, t[1:]).all()
    nearest = process.snapped(t)
    assert np.isin(nearest, known).all()
    np.testing.assert_array_equal(nearest[0], known[0])
    assert (np.abs(nearest[1:] - t[1:]) <= np.diff(known).max() / 2).all()
    for name in sorted(GRIDS.keys() - {"explicit", "ays", "karras", "exponential", "logsnr"}):
        options = {"snap": True} if name not in ("simple", "admissible", "distilled") else {}
        grid = make_grid(name, process, 4, **options)
        if name != "admissible":
            assert np.isin(grid.t[:-1], known).all(), name
    with pytest.raises(dd.UserError, match="at most 11"):
        make_grid("uniform", process, 12)


def test_parsed_samplers_run_on_it() -> None:
    for text in ("ge", "unipc", "heun(clock=time)", "DPM++ 2M Karras", "ddim | momentum(-0.3)"):
        assert torch.isfinite(dd.sample(MODEL, parse(text), steps=5, n=2).images).all()
