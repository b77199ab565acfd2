"""What a solver is: frozen options and a pure function from a grid to a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal, Protocol, TypeVar

from ..grid import Grid
from ..plan import Plan

Variable = Literal["sigma", "lambda", "time"]
"""In which variable a method is of its order: σ̃ = σ/α, λ = log(α/σ), or the process's time."""


class Solver(Protocol):
    """A numerical method for x_t → x_s, as a dataclass of its options.

    ``order`` is the interior order on smooth grids with the history seeded from the exact flow, ``cold_order`` that of
    a whole run from a cold start (any first-order start caps it at two). ``stochastic`` methods declare the order of
    the marginal mean and variance.
    """

    name: ClassVar[str]
    variable: ClassVar[Variable]
    stochastic: ClassVar[bool]

    @property
    def order(self) -> int: ...

    @property
    def cold_order(self) -> int: ...

    def plan(self, grid: Grid) -> Plan:
        """The rows for ``grid``."""
        ...


SOLVERS: dict[str, type[Solver]] = {}
S = TypeVar("S", bound=type)


def register(name: str) -> Callable[[S], S]:
    """Make a solver known by ``name``; it then joins every suite of the tests."""

    def add(cls: S) -> S:
        cls.name = name  # type: ignore[attr-defined]
        SOLVERS[name] = cls
        return cls

    return add
