"""What a solver is: frozen options and a pure function from a grid to a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, Protocol, TypeVar

from diffdescent.core.grid import Grid
from diffdescent.core.namespace import RECIPE_NAMES
from diffdescent.core.plan import Plan

from .declaration import Variable as Variable
from .declaration import check_declaration

Spacing = Literal["uniform", "smooth", "alternating"]
"""How a grid lies in the solver's variable: equal steps; steps that vary smoothly; steps in the
ratio 1:q:1:q…"""


class Solver(Protocol):
    """A numerical method for x_t → x_s, as a frozen dataclass of its options over
    :class:`~diffdescent.core.options.Options`, which checks them by their annotations.

    What a solver declares is what the tests hold it to; every registered name joins them, with each
    of its ``variants`` (option sets; say ``({}, {"order": 3})`` to test the default and order 3).
    :func:`register` fills in what a class leaves out: ``variants = ({},)``, ``keeps_variance =
    True``, a ``cold_order`` that is the order, and an :meth:`order_on` that gives the two on every
    grid.

    :meth:`order_on` is the order of convergence: in the interior (history seeded from the exact
    flow, no start-up or closing rows), or of a whole run from a cold start (any first-order start
    or end caps it at two). ``stochastic`` methods declare the order of the marginal mean and
    variance from a cold start, 0 where they do not converge (samplers of distilled networks).
    ``order`` is the method's number, as its paper counts (UniPC-p
    converges at p + 1); ``cold_order`` is ``order_on("uniform", cold=True)``.

    ``keeps_variance``: over a constant denoiser every committed state has exactly the variance σ_s²
    of its level. Deterministic methods always do; DDPM with the large variance does not.

    ``solves_points``: over a constant denoiser it ends exactly at its answer. All do but those that
    are made for data of a variance of their own (``gaussian``).
    """

    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]]

    @property
    def variable(self) -> Variable: ...

    @property
    def stochastic(self) -> bool: ...

    @property
    def order(self) -> int: ...

    @property
    def cold_order(self) -> int: ...

    @property
    def keeps_variance(self) -> bool: ...

    @property
    def solves_points(self) -> bool: ...

    def order_on(self, spacing: Spacing, cold: bool = False) -> int:
        """The order on grids of this ``spacing`` in :attr:`variable`, interior or from a ``cold``
        start.

        Methods with the coefficients of equal steps return :func:`fixed_coefficients`\\ (order,
        spacing).
        """
        ...

    def plan(self, grid: Grid) -> Plan:
        """The rows for ``grid``."""
        ...


def fixed_coefficients(order: int, spacing: Spacing) -> int:
    """The order of a multistep method of ``order`` ≥ 1 whose coefficients assume equal steps.

    On smooth grids neighbouring steps differ by O(h²), which leaves at most second order; on
    alternating grids they differ by O(h), which leaves first (Hairer, Nørsett and Wanner, Solving
    ODEs I, section III.5).
    """
    return min(order, {"uniform": order, "smooth": 2, "alternating": 1}[spacing])


def _order_on(self: Solver, spacing: Spacing, cold: bool = False) -> int:
    return self.cold_order if cold else self.order


SOLVERS: dict[str, type[Solver]] = RECIPE_NAMES.table("solver")
FILE_SOLVERS: dict[str, type[Any]] = RECIPE_NAMES.table("fitted solver")
"""Solvers that are read from a file: named in a recipe like any other, but without a form of their
own that every suite could test."""
S = TypeVar("S", bound=type[Any])


def register(name: str) -> Callable[[S], S]:
    """Make a solver known by ``name``; it then joins every suite of the tests.

    Raises:
        UserError: a name that is taken, a class that is not a frozen dataclass over
            :class:`~diffdescent.core.options.Options`, and one that does not say its ``variable``,
            ``order`` and whether it is ``stochastic``, or has no ``plan``.
    """

    def add(cls: S) -> S:
        check_declaration(cls)
        RECIPE_NAMES.add("solver", name, cls)
        cls.name = name
        for attribute, default in (
            ("variants", ({},)),
            ("keeps_variance", True),
            ("solves_points", True),
            ("cold_order", property(lambda solver: solver.order)),
            ("order_on", _order_on),
        ):
            if not hasattr(cls, attribute):
                setattr(cls, attribute, default)
        return cls

    return add
