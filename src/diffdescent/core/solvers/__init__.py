"""Solvers: how an estimate is built from past evaluations. Importing the package registers them
all."""

from . import adams, analytic, ddim, deis, dpm, edm, pndm, unipc
from .base import SOLVERS, Solver, Spacing, Variable, fixed_coefficients, register

__all__ = [
    "SOLVERS",
    "Solver",
    "Spacing",
    "Variable",
    "adams",
    "analytic",
    "ddim",
    "deis",
    "dpm",
    "edm",
    "fixed_coefficients",
    "pndm",
    "register",
    "unipc",
]
