"""Every registered transform, solver and source of guidance: what its class declares is true, and
its options are checked and survive a text."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from diffdescent.base.errors import UserError
from diffdescent.core.recipe import Recipe, parse
from diffdescent.core.solvers import SOLVERS
from diffdescent.core.transforms import TRANSFORMS, Inpaint, Monitor, Transform
from diffdescent.guidance.elements import SOURCES
from tests.contract import transforms as contract
from tests.contract.options import some_options
from tests.registry import learned, solvers

NAMES = sorted(TRANSFORMS)
ROOM = ("ddim", "ddpm", "mu", "euler")
"""Solvers that have room for every transform."""
FEW = settings(max_examples=12, deadline=None)


def made(cls: type[Any], options: dict[str, Any]) -> Any:
    """The object, unless its options contradict one another."""
    try:
        return cls(**options)
    except UserError as error:
        if str(error).startswith("The option"):
            raise
        assume(False)


def draw(data: st.DataObject, name: str, **fixed: Any) -> Transform:
    cls = TRANSFORMS[name]
    transform: Transform = made(cls, {**data.draw(some_options(cls, tame=True)), **fixed})
    return transform


@pytest.mark.parametrize("solver", solvers(lambda s: s == type(s)() and not learned(s)))
@pytest.mark.parametrize("name", [n for n in NAMES if TRANSFORMS[n].neutral is not None])
def test_neutral_options_change_no_bit(name: str, solver: Any) -> None:
    """Over every solver that has room for the transform."""
    transform = TRANSFORMS[name](**TRANSFORMS[name].neutral or {})
    assert contract.check_neutral(transform, solver) or solver.name not in ROOM


@FEW
@given(data=st.data())
@pytest.mark.parametrize("name", [n for n in NAMES if TRANSFORMS[n].neutral is not None])
def test_neutral_options_with_any_others(name: str, data: st.DataObject) -> None:
    assert contract.check_neutral(draw(data, name, **TRANSFORMS[name].neutral or {}))


@FEW
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_each_sample_by_itself(name: str, data: st.DataObject) -> None:
    transform = draw(data, name)
    contract.check_batch_split(transform)
    contract.check_own_state(transform)


@FEW
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_linear_is_true(name: str, data: st.DataObject) -> None:
    contract.check_linear(draw(data, name))


@FEW
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_nothing_that_is_handed_over_changes(name: str, data: st.DataObject) -> None:
    contract.check_pure(draw(data, name))


@settings(max_examples=50, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", NAMES)
def test_a_transform_reads_back_from_its_text(name: str, data: st.DataObject) -> None:
    contract.check_text(made(TRANSFORMS[name], data.draw(some_options(TRANSFORMS[name]))))


@settings(max_examples=50, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_a_solver_reads_back_from_its_text(name: str, data: st.DataObject) -> None:
    variant = dict(data.draw(st.sampled_from(SOLVERS[name].variants)))
    solver = made(SOLVERS[name], {**variant, **data.draw(some_options(SOLVERS[name]))})
    assert parse(str(Recipe(solver))) == Recipe(solver)


@pytest.mark.parametrize("cls", [*TRANSFORMS.values(), *SOLVERS.values(), *SOURCES.values()])
def test_wrong_options_are_refused(cls: type[Any]) -> None:
    contract.check_refusals(cls)


def test_a_wrong_option_is_refused_from_text_as_from_python() -> None:
    for text, python in (
        ("ge(gamma=inf)", lambda: TRANSFORMS["ge"](gamma=float("inf"))),  # type: ignore[call-arg]
        ("ddim(eta=true)", lambda: SOLVERS["ddim"](eta=True)),
        ("plms(order=2.5)", lambda: SOLVERS["plms"](order=2.5)),
        ("unipc(orders=[1, 7])", lambda: SOLVERS["unipc"](orders=(1, 7))),
    ):
        with pytest.raises(UserError) as of_text:
            parse(text)
        with pytest.raises(UserError) as of_python:
            python()
        assert str(of_text.value) == str(of_python.value)


def test_what_a_text_cannot_name_keeps_the_contract_too() -> None:
    ones = torch.ones(1, 2, 3, 5).double()
    assert contract.check_neutral(Monitor())
    for transform in (Monitor(), Inpaint(0.5 * ones, 0.2 * ones, 0.1 * ones)):
        assert transform.name not in TRANSFORMS
        contract.check_pure(transform)
        contract.check_linear(transform)
    contract.check_batch_split(Inpaint(0.5 * ones, 0.2 * ones, 0.1 * ones))
