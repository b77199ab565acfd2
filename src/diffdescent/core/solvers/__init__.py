"""Solvers: how an estimate is built from past evaluations. Importing the package registers them
all."""

from .base import FILE_SOLVERS, SOLVERS, Solver, Spacing, Variable, fixed_coefficients, register

# isort: split
# What a solver's file imports from here stands above; the solvers follow.
from . import adams, analytic, calibrated, ddim, deis, dpm, edm, pndm, runge_kutta, unipc

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
    "dpm",
    "edm",
    "fixed_coefficients",
    "pndm",
    "register",
    "runge_kutta",
    "unipc",
]
