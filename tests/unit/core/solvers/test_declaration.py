"""What a solver's class must declare, checked when it is registered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from diffdescent.base.errors import UserError
from diffdescent.core.grid import make_grid
from diffdescent.core.options import Options
from diffdescent.core.process import VE
from diffdescent.core.recipe import parse
from diffdescent.core.solvers import SOLVERS, register

RIGHT: dict[str, Any] = {
    "variable": "sigma",
    "stochastic": False,
    "order": 1,
    "plan": lambda self, grid: None,
}


def define(*left_out: str, **body: Any) -> type[Any]:
    body = {name: value for name, value in {**RIGHT, **body}.items() if name not in left_out}
    return type("Mine", (Options,), body)


def frozen(*left_out: str, **body: Any) -> type[Any]:
    return dataclass(frozen=True)(define(*left_out, **body))


def declared() -> type[Any]:
    @dataclass(frozen=True)
    class Declared(Options):
        variable: ClassVar[str] = "rho"
        stochastic: ClassVar[bool] = False
        order: ClassVar[int] = 1

        def plan(self, grid: Any) -> Any:
            return None

    return Declared


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: frozen("order"), "does not say its 'order'; set order = 1"),
        (lambda: frozen("stochastic"), "does not say its 'stochastic'; set stochastic = False"),
        (lambda: frozen("variable"), "does not say its 'variable'; set variable ="),
        (lambda: frozen("plan"), "has no plan; give it a method plan"),
        (lambda: frozen(plan=3), "has no plan; give it a method plan"),
        (lambda: frozen(variable="sgima"), "'variable' of 'Mine' must be 'sigma' or 'lambda' or"),
        (declared, "'variable' of 'Declared' must be 'sigma' or 'lambda' or"),
        (lambda: frozen(stochastic="no"), "'stochastic' of 'Mine' must be true or false"),
        (lambda: frozen(order=-1), "'order' of 'Mine' must be at least 0, not -1"),
        (lambda: frozen(order=1.5), "'order' of 'Mine' must be a whole number"),
        (lambda: frozen(keep_variance=False), "'keep_variance', .* did you mean 'keeps_variance'"),
        (lambda: frozen("order", ordr=2), "'ordr', which no solver knows; did you mean 'order'"),
        (define, "Mine is not a frozen dataclass"),
        (lambda: dataclass(define()), "Mine is not a frozen dataclass"),
        (lambda: type("Sub", (frozen(),), {}), "Sub is not a frozen dataclass"),
        (lambda: type("Mine", (), RIGHT), "derive it from diffdescent.core.options.Options"),
    ],
)
def test_a_wrong_declaration_is_an_error(wrong: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        register("mine")(wrong())
    assert "mine" not in SOLVERS


def test_what_a_class_may_declare() -> None:
    """Values, properties and options; what is left out is filled in."""
    right = [
        frozen(),
        frozen(variable=property(lambda self: "time"), order=property(lambda self: 2)),
        frozen("order", __annotations__={"order": int}),
        frozen(stages=property(lambda self: 3), _orders=()),
    ]
    try:
        for cls in right:
            assert register("mine")(cls).variants == ({},)
            SOLVERS.pop("mine")
    finally:
        SOLVERS.pop("mine", None)


def test_a_solver_without_a_plan_to_give_and_one_with_an_option_left_open() -> None:
    @register("given_nothing")
    @dataclass(frozen=True)
    class Nothing(Options):
        weight: float
        name: ClassVar[str]
        variable: ClassVar[str] = "sigma"
        stochastic: ClassVar[bool] = False
        order: ClassVar[int] = 1

        def plan(self, grid: Any) -> Any:
            return None

    try:
        with pytest.raises(UserError, match=r"needs its weight; write given_nothing\(weight=…\)"):
            parse("given_nothing")
        grid = make_grid("karras", VE(), 3)
        with pytest.raises(UserError, match="'given_nothing' gave None for a plan"):
            parse("given_nothing(1)").plan(grid)
    finally:
        del SOLVERS["given_nothing"]
