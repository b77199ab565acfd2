"""A registered name stands for one thing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from diffdescent.base.errors import UserError
from diffdescent.core import grid, solvers, transforms
from diffdescent.core.grid import GRIDS, Grid, explicit
from diffdescent.core.options import Options
from diffdescent.core.process import Process
from diffdescent.core.solvers import SOLVERS
from diffdescent.core.transforms import TRANSFORMS, Evaluation
from diffdescent.guidance import elements, source
from diffdescent.guidance.elements import SOURCES


@dataclass(frozen=True)
class MySolver(Options):
    variable: ClassVar[str] = "sigma"
    stochastic: ClassVar[bool] = False
    order: ClassVar[int] = 1

    def plan(self, grid: Grid) -> Any: ...


@dataclass(frozen=True)
class MyTransform(transforms.Estimate):
    linear: ClassVar[bool] = True
    neutral: ClassVar = None

    def correct(self, evaluation: Evaluation) -> None: ...


@dataclass(frozen=True)
class MyGuide(elements.Gradient):
    def guide(self, model: Any, given: Any) -> Any: ...


def my_grid(process: Process, steps: int) -> Grid:
    return explicit(process, [1.0, 0.0])


KINDS: dict[str, tuple[Callable[[str], Callable[[Any], Any]], Any, dict[str, Any]]] = {
    "solver": (solvers.register, MySolver, SOLVERS),
    "transform": (transforms.register, MyTransform, TRANSFORMS),
    "grid": (grid.register, my_grid, GRIDS),
    "guidance": (source, MyGuide, SOURCES),
}


@pytest.mark.parametrize(
    ("kind", "name", "owner"),
    [
        ("solver", "ddim", "solver diffdescent.core.solvers.ddim.DDIM"),
        ("solver", "calibrated", "fitted solver diffdescent.core.solvers.calibrated.Calibrated"),
        ("solver", "momentum", "transform diffdescent.core.transforms.momentum.Momentum"),
        ("solver", "euler_a", r"stands for 'euler\(eta=1\)'"),
        ("solver", "ddimscheduler", r"stands for 'ddim \| threshold\(eps=keep\)'"),
        ("transform", "ge", "transform diffdescent.core.transforms.gradient_est"),
        ("transform", "ddim", "solver diffdescent.core.solvers.ddim.DDIM"),
        ("transform", "gradient_estimation", r"stands for 'ge\(last=plain\)'"),
        ("grid", "karras", "grid diffdescent.core.grid.by_ratio.karras"),
        ("grid", "edm", "stands for 'karras'"),
        ("guidance", "cfg", "guidance diffdescent.guidance.elements.Free"),
        ("guidance", "pxp", "guidance action diffdescent.core.transforms.pxp.PxP"),
    ],
)
def test_a_taken_name_is_refused(kind: str, name: str, owner: str) -> None:
    register, thing, table = KINDS[kind]
    before = dict(table)
    with pytest.raises(UserError, match=f"The name '{name}' is taken: it .*{owner}.*; choose"):
        register(name)(thing)
    assert table == before


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_thing_may_be_loaded_again(kind: str) -> None:
    register, thing, table = KINDS[kind]
    try:
        assert register("mine")(thing) is thing
        register("mine")(thing)
        assert table["mine"] is thing
    finally:
        table.pop("mine", None)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["TwoStep", "two step", "two-step", "2nd", ""])
def test_a_name_that_no_text_can_have(kind: str, name: str) -> None:
    register, thing, table = KINDS[kind]
    with pytest.raises(UserError, match="names are words in lower case"):
        register(name)(thing)
    assert name not in table


@pytest.mark.parametrize("kind", ["transform", "guidance"])
def test_a_class_that_is_not_a_frozen_dataclass(kind: str) -> None:
    register, thing, table = KINDS[kind]
    with pytest.raises(UserError, match="Sub is not a frozen dataclass"):
        register("mine")(type("Sub", (thing,), {}))
    assert "mine" not in table
