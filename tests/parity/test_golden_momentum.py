"""Momentum on the sampling update: the authors' Stable Diffusion sampler (DDIM, timesteps arange(1,
1000, 1000//N))."""

from __future__ import annotations

import numpy as np

from diffdescent.core.grid import make_grid
from diffdescent.core.solvers.ddim import DDIM
from diffdescent.core.transforms import Momentum
from tests.parity.golden import Case, cases, compare, run, start


@cases("momentum")
def test_momentum(case: Case) -> None:
    options = case.options
    grid = make_grid("uniform", case.process(), options["num_steps"], offset=1)
    assert np.array_equal(grid.t[:-1], case["grid_t"][: grid.steps])
    ours = run(DDIM().plan(grid), start(), displacements=[Momentum(options["beta"])])
    compare(case, ours)
