"""What a plan refuses: mistakes of a solver."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from diffdescent.core.grid import explicit
from diffdescent.core.plan import Plan, Row, euler_row
from diffdescent.core.process import VE

GRID = explicit(VE(), [4.0, 2.0, 1.0])
FIRST, SECOND = (euler_row(i, GRID.points[i], GRID.points[i + 1], "eps", keep=(0,)) for i in (0, 1))


def plan(*rows: Row) -> Plan:
    return Plan(GRID, rows, name="mine")


def test_a_right_plan() -> None:
    assert plan(FIRST, SECOND).nfe == 2


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            (FIRST,),
            r"mine: the last row commits at σ/α = 2, and must commit at .* end, 1\.",
        ),
        ((SECOND, FIRST), "must commit at the grid's end, 1"),
        ((), "the last row must commit the result"),
        ((FIRST, replace(SECOND, basis="v")), "row 1 has the basis 'v'; it must be 'x0' or 'eps'"),
        ((replace(FIRST, keep_basis="v"), SECOND), "row 0 has the basis 'v'"),
        ((FIRST, replace(SECOND, outputs=())), "row 1 has no output"),
        ((replace(FIRST, keep=(1,)), SECOND), r"row 0 keeps evaluations \(1,\) of 1"),
    ],
)
def test_a_wrong_plan(rows: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan(*rows)


def test_the_end_may_be_computed_in_two_ways() -> None:
    near = GRID.points[2]._replace(sigma=1 + 1e-12)
    assert plan(FIRST, euler_row(1, GRID.points[1], near, "eps")).nfe == 2
