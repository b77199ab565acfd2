"""Solvers: how an estimate is built from past evaluations. Importing the package registers them all."""

from . import ddim
from .base import SOLVERS, Solver, Spacing, Variable, fixed_coefficients, register

__all__ = ["SOLVERS", "Solver", "Spacing", "Variable", "ddim", "fixed_coefficients", "register"]
