"""Controls from annotations, and chains edited by them: for everything that is registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest

from diffdescent.apps.studio.chain import (
    grid_defaults,
    grid_text,
    recipe_parts,
    strength,
    text_of,
    with_option,
    with_solver,
    with_strength,
    with_transforms,
)
from diffdescent.apps.studio.controls import Control, controls_of, grid_controls
from diffdescent.base.errors import UserError
from diffdescent.core.grid import GRIDS
from diffdescent.core.options import In, Options
from diffdescent.core.recipe import grid_call, parse
from diffdescent.core.solvers import SOLVERS
from diffdescent.core.transforms import TRANSFORMS
from diffdescent.guidance.elements import SOURCES

PARTS = {**SOLVERS, **TRANSFORMS, **SOURCES}


def by_name(part: object) -> dict[str, Control]:
    return {control.option: control for control in controls_of(part)}


@pytest.mark.parametrize("name", PARTS)
def test_every_option_has_a_control_that_reads_what_it_shows(name: str) -> None:
    part = PARTS[name]()
    for option, control in by_name(part).items():
        assert control.read(control.shown) == getattr(part, option)
        assert control.note
        if control.kind == "slider":
            assert control.low <= control.shown <= control.high
            control.read(control.low)
            control.read(control.high)
        for choice in control.choices:
            control.read(choice)


@pytest.mark.parametrize("name", GRIDS)
def test_every_option_of_a_grid_has_one_too(name: str) -> None:
    defaults = grid_defaults(name)
    for control in grid_controls(name, {}):
        assert control.read(control.shown) == defaults[control.option]
    if "start" in defaults:
        assert grid_call(grid_text(name, {**defaults, "start": 40.0}))[1] == {"start": 40.0}


def test_a_new_part_has_controls_without_a_line_of_code() -> None:
    @dataclass(frozen=True)
    class Mine(Options):
        share: Annotated[float, In(0, 2, "(]", hint="2 is twice as much")] = 1.0
        often: bool = False
        count: Annotated[int, In(1, 4)] = 2
        end: float | None = None
        name: ClassVar[str] = "mine"

    found = by_name(Mine())
    assert [control.kind for control in found.values()] == ["slider", "choice", "slider", "text"]
    share = found["share"]
    assert (share.low, share.high, share.step) == (0.05, 2, 0.05)
    assert share.note == "(0, 2]; 2 is twice as much"
    assert found["often"].choices == ("true", "false")
    assert found["often"].read("true") is True
    assert found["count"].read(3.0) == 3
    assert found["end"].read("0.5") == 0.5
    assert found["end"].read("") is None
    with pytest.raises(UserError, match=r"'share' of 'mine' must lie in \(0, 2\], not 3"):
        share.read(3)


def test_controls_change_the_text() -> None:
    parts = recipe_parts("ddim(eta=0.5) | momentum(beta=-0.3)")
    assert text_of(with_option(parts, 0, "eta", 1.0)) == "ddim(eta=1.0) | momentum"
    assert text_of(with_solver(parts, "unipc")) == "unipc | momentum"
    assert text_of(with_transforms(parts, ["threshold", "momentum"])).endswith(
        "threshold | momentum"
    )
    assert text_of(with_transforms(parts, [])) == "ddim(eta=0.5)"
    with pytest.raises(UserError, match="'eta' of 'ddim' must"):
        with_option(parts, 0, "eta", -3.0)


def test_strengths_put_a_transform_in_and_take_it_out() -> None:
    text = with_strength("ddim", "momentum", -0.2)
    assert parse(text) == parse("ddim | momentum(beta=-0.2)")
    text = with_strength(text, "ge", 1.5)
    assert parse(text) == parse("ddim | ge(gamma=1.5) | momentum(beta=-0.2)")
    assert strength(text, "ge") == 1.5
    text = with_strength(text, "momentum", 0.4)
    assert strength(text, "momentum") == 0.4
    assert with_strength(with_strength(text, "ge", 1.0), "momentum", 0.0) == "ddim"
    assert strength("ddim", "ge") == 1.0
