"""Solvers: how an estimate is built from past evaluations. Importing the package registers them
all."""

from .base import FILE_SOLVERS, SOLVERS, Solver, Spacing, Variable, fixed_coefficients, register

# isort: split
# What a solver's file imports from here stands above; the solvers follow.
from . import (
    adams,
    analytic,
    calibrated,
    ddim,
    deis,
    distilled,
    dpm,
    edm,
    er_sde,
    gaussian,
    pndm,
    runge_kutta,
    sa,
    unipc,
)

__all__ = [
    "FILE_SOLVERS",
    "SOLVERS",
    "Solver",
    "Spacing",
    "Variable",
    "adams",
    "analytic",
    "calibrated",
    "ddim",
    "deis",
    "distilled",
    "dpm",
    "edm",
    "er_sde",
    "fixed_coefficients",
    "gaussian",
    "pndm",
    "register",
    "runge_kutta",
    "sa",
    "unipc",
]
