"""A chain as a linear multistep method, with its order and error constant."""

from __future__ import annotations

import math

import numpy as np

from diffdescent.core.grid import Grid, explicit_ratios
from diffdescent.core.process import VE
from diffdescent.core.recipe import Recipe
from diffdescent.core.solvers.calibrated import Calibrated
from diffdescent.core.weights import effective_weights

from .explanation import LinearMethod

TINY = 1e-7
"""The step of the test grids: so small against σ̃ = 1 that coordinates which differ at large noise
agree."""
_LONG = 240
"""Steps of the test grids: long enough for momentum of |β| = 0.9 to have forgotten its start."""


def _test_grid(variable: str) -> Grid:
    if variable == "lambda":
        return explicit_ratios(VE(), np.exp(-TINY * np.arange(_LONG + 1)))
    return explicit_ratios(VE(), TINY * np.arange(_LONG + 1, 0, -1.0))


def linear_method(recipe: Recipe) -> tuple[LinearMethod | None, str | None]:
    """The chain as a linear multistep method, or why it is none."""
    if isinstance(recipe.solver, Calibrated):
        return None, "its coefficients were fitted to the levels of its file and hold there alone"
    lam = recipe.solver.variable == "lambda"
    grid = _test_grid(recipe.solver.variable)
    plan = recipe.plan(grid)
    if not plan.single:
        return (
            None,
            (
                "its steps take inner evaluations or are committed twice, and its error depends on"
                " the problem"
            ),
        )
    if plan.stochastic:
        return None, "it adds noise, and its order is that of the variance"
    found = effective_weights(recipe, grid, basis="x0" if lam else "eps")
    rows = np.concatenate((np.zeros((1, found.evals.shape[1])), found.evals))
    scale = np.concatenate(([1.0], [p.ratio for p in found.points])) if lam else np.ones(len(rows))
    change = np.diff(rows / scale[:, None], axis=0)[
        -2
    ]  # not the last step: it may have a rule of its own
    impulse = change[: len(rows) - 2][::-1]
    impulse = impulse / impulse.sum()
    matter = np.abs(impulse) > 1e-6
    impulse = np.asarray(impulse[: int(matter.nonzero()[0].max()) + 1])
    age = -np.arange(len(impulse), dtype=np.float64)
    for p in range(1, 9):
        defect = 1 / (p + 1) - float(impulse @ age**p)
        if abs(defect) > 1e-4:
            variable = "λ = log(α/σ)" if lam else "σ̃ = σ/α"
            return LinearMethod(variable, impulse, p, defect / math.factorial(p)), None
    return None, "its local error is below what is looked for (order 9)"
