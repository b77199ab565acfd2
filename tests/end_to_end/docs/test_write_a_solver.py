"""The page "Write a solver": its example is imported, sampled with by its name, and held to the
suites of order and contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent.core.recipe import parse
from diffdescent.core.solvers import SOLVERS
from tests.contract import test_invariants as contract
from tests.contract.setups import GRIDS
from tests.end_to_end.docs.pages import blocks, command, reading
from tests.order import test_deterministic as order

PAGE, NAME = "write-a-solver.md", "two_step"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with reading(PAGE, NAME, SOLVERS, tmp_path):
        yield tmp_path


def test_the_example_and_its_use(folder: Path) -> None:
    assert NAME not in SOLVERS
    namespace: dict[str, Any] = {}
    exec(blocks(PAGE, "python")[1], namespace)
    assert torch.isfinite(namespace["result"].images).all()
    assert str(parse(f"{NAME}(weight=0.25)")) == f"{NAME}(weight=0.25)"
    with pytest.raises(dd.UserError, match="second order"):
        parse(f"{NAME}(weight=2)")


def test_it_is_what_its_docstring_says(folder: Path) -> None:
    """On a single point it is exact; its order is the declared one; and it is ``ab(order=2)``."""
    import two_step  # type: ignore[import-not-found]

    for options in two_step.TwoStep.variants:
        solver = SOLVERS[NAME](**options)
        for spacing in order.SPACINGS:
            for cold in (False, True):
                order.test_order_is_the_declared_one(solver, spacing, cold)
        order.test_declared_orders_are_consistent(solver)
        for grid in GRIDS.values():
            contract.test_a_single_point_is_solved_exactly(solver, grid)
            contract.test_weights_of_every_state(solver, grid)
    for grid in GRIDS.values():
        for row, twin in zip(
            SOLVERS[NAME]().plan(grid).rows, SOLVERS["ab"](order=2).plan(grid).rows, strict=True
        ):
            ours, theirs = row.outputs[0], twin.outputs[0]
            assert ours.base == pytest.approx(theirs.base, rel=1e-12)
            assert ours.evals == pytest.approx(theirs.evals, rel=1e-9, abs=1e-12)


@pytest.mark.slow
def test_the_commands(folder: Path) -> None:
    weights, suites, slopes = blocks(PAGE, "bash")
    assert "two_step" in command(weights, folder)
    assert "passed" in command(suites, folder)
    assert "two_step(weight=0.25)" in command(slopes, folder)
