"""Solvers: how an estimate is built from past evaluations. Importing the package registers them all."""

from . import ddim
from .base import SOLVERS, Solver, register

__all__ = ["SOLVERS", "Solver", "ddim", "register"]
