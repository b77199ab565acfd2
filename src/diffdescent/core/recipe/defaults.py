"""What is taken when nothing is asked for: the sampler for a number of steps, the grid for a
sampler."""

from __future__ import annotations

from dataclasses import replace

from diffdescent.core.process import Process
from diffdescent.core.transforms import GradientEstimation

from .parse import parse
from .recipe import Recipe

GUIDED_GRID = "uniform(spacing=linspace, open=true)"
"""The grid of the preset under classifier-free guidance: diffusers' default levels of UniPC."""


def default_recipe(steps: int, guided: bool = False) -> Recipe:
    """The preset for a step count: gradient estimation up to 7 steps, UniPC above; UniPC on
    :data:`GUIDED_GRID` under classifier-free guidance (``guided``) of a VP network.

    Chosen by the distance to the exact solution on the bundled mixture (docs/measurements.md): GE
    is the best at 5 steps on its grid, UniPC among the best four at 10, 20 and 50 on both grids
    measured. Under guidance by the distance to the solutions of three networks (docs/guidance.md).
    """
    if guided:
        return replace(parse("unipc"), usual_grid=GUIDED_GRID)
    return parse("ge") if steps <= 7 else parse("unipc")


def default_grid(recipe: Recipe, process: Process) -> str:
    """The grid when none is asked for.

    The one that the recipe's name implies (``"DPM++ 2M Karras"``), or that a calibrated sampler was
    fitted on; else the process's usual one (uniform in shifted time for flows, Karras for VE). For
    all other processes, log-linear under gradient estimation and under solvers in λ, whose variable
    it is uniform in, and uniform in time from the highest trained level under the rest.
    """
    named = recipe.grid or recipe.usual_grid
    if named is not None:
        return named
    if process.usual_grid is not None:
        return process.usual_grid
    estimated = any(isinstance(t, GradientEstimation) for t in recipe.transforms)
    return (
        "loglinear"
        if estimated or recipe.solver.variable == "lambda"
        else "uniform(spacing=trailing)"
    )
