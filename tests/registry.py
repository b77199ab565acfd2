"""Every registered solver with each of its variants: the parameters of the suites that a solver
joins by its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from diffdescent.core.solvers import SOLVERS, Solver


def build(name: str, options: dict[str, Any]) -> Solver:
    return SOLVERS[name](**options)


def label(name: str, options: dict[str, Any]) -> str:
    return f"{name}({', '.join(f'{k}={v}' for k, v in options.items())})"


def solvers(keep: Callable[[Solver], bool] = lambda solver: True) -> list[Any]:
    """Pytest parameters for the solvers that ``keep`` accepts."""
    every = (
        (name, dict(options)) for name in sorted(SOLVERS) for options in SOLVERS[name].variants
    )
    built = ((build(*case), label(*case)) for case in every)
    return [pytest.param(solver, id=text) for solver, text in built if keep(solver)]


def deterministic(solver: Solver) -> bool:
    return not solver.stochastic


def stochastic(solver: Solver) -> bool:
    return solver.stochastic


def learned(solver: Solver) -> bool:
    """Whether the solver needs a network that predicts its variance."""
    return getattr(solver, "variance", None) == "learned"
