"""What annotations allow, and the sentence that refuses the rest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest

from diffdescent.base.errors import UserError
from diffdescent.core.options import (
    Filled,
    In,
    Options,
    domain,
    finite,
    limited,
    options_of,
    positive,
)

Beta = Annotated[float, In(-1, 1, "()", "usual is 0.2")]


@dataclass(frozen=True)
class Mine(Options):
    scale: float = 1.0
    beta: Beta | Annotated[tuple[Beta, ...], Filled("give one number, or one per step")] = 0.2
    order: Annotated[int, In(1, 4)] = 3
    points: Annotated[int, In(0)] = 0
    size: Annotated[float, positive()] = math.inf
    eta: Annotated[float, In(0, ends="[)")] = 0.0
    rule: Literal["keep", "recompute"] = "keep"
    warm: bool | Literal["auto"] = "auto"
    pair: tuple[float, float] | None = None
    orders: tuple[int, ...] = ()
    word: str | None = None
    name: ClassVar[str] = "mine"

    def check_together(self) -> None:
        if self.order > 3 and self.warm is True:
            raise UserError("mine cannot be warm at order 4; choose one.")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("scale", "two", "must be a number, not 'two'."),
        ("scale", True, "must be a number, not True."),
        ("scale", math.nan, "must be a finite number, not nan."),
        ("scale", math.inf, "must be a finite number, not inf."),
        ("beta", 1, "must lie in (−1, 1), not 1; usual is 0.2."),
        ("beta", (0.1, 2.0), "must lie in (−1, 1), not 2.0; usual is 0.2."),
        ("beta", "x", "must be a number or a list of numbers, not 'x'."),
        (
            "beta",
            (),
            "must hold at least one value, not an empty list; give one number, or one",
        ),
        ("scale", 10**400, "must be a finite number, not 1000"),
        ("scale", np.ones((2, 2)), "must be a number, not array([[1., 1.], [1., 1.]])."),
        ("beta", [], "must hold at least one value, not an empty list"),
        ("rule", np.ones(2), "must be 'keep' or 'recompute', not array([1., 1.])."),
        ("order", 5, "must be a whole number from 1 to 4, not 5."),
        ("order", 2.0, "must be a whole number, not 2.0."),
        ("points", -1, "must be at least 0, not -1."),
        ("size", 0, "must be positive, not 0."),
        ("eta", math.inf, "must be finite and at least 0, not inf."),
        ("rule", "kep", "must be 'keep' or 'recompute', not 'kep'; did you mean 'keep'?"),
        ("warm", 1, "must be true or false or 'auto', not 1."),
        ("pair", (1, 2, 3), "must be a list of 2 numbers or none, not (1, 2, 3)."),
        ("orders", (1, 2.5), "must be a list of whole numbers, not (1, 2.5)."),
        ("word", 3, "must be a word or none, not 3."),
    ],
)
def test_refusals(option: str, value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        Mine(**{option: value})
    assert str(caught.value).startswith(f"The option {option!r} of 'mine' {message}")


def test_values_become_what_the_annotation_says() -> None:
    given = Mine(scale=2, beta=[0, np.float32(0.5)], order=np.int64(2), orders=3, pair=[1, 2])  # type: ignore[arg-type]
    assert (given.scale, given.beta, given.order) == (2.0, (0.0, 0.5), 2)
    assert (given.orders, given.pair) == ((3,), (1.0, 2.0))
    assert Mine(beta=np.array([0.1, 0.2]), rule=np.str_("keep")).beta == (0.1, 0.2)  # type: ignore[arg-type]
    for value, kind in ((given.scale, float), (given.beta[0], float), (given.order, int)):  # type: ignore[index]
        assert type(value) is kind


def test_options_that_do_not_fit_one_another() -> None:
    assert Mine(order=4).warm == "auto"
    with pytest.raises(UserError, match="cannot be warm"):
        Mine(order=4, warm=True)


def test_domains_in_short() -> None:
    assert {name: domain(hint) for name, hint in options_of(Mine).items()} == {
        "scale": "number",
        "beta": "(−1, 1) or list of (−1, 1)",
        "order": "[1, 4]",
        "points": "[0, inf]",
        "size": "(0, inf]",
        "eta": "[0, inf)",
        "rule": "keep or recompute",
        "warm": "true or false or auto",
        "pair": "list of 2 numbers or none",
        "orders": "list of whole numbers",
        "word": "word or none",
    }
    assert [name for name, hint in options_of(Mine).items() if not limited(hint)] == [
        "scale",
        "pair",
        "orders",
        "word",
    ]


def test_intervals() -> None:
    assert 1.0 in In(0, 1, "(]")
    assert 0.0 not in In(0, 1, "(]")
    assert math.nan not in In(ends="[]")
    assert math.inf not in finite()
    assert str(In(2, ends="(]")) == "be above 2"
