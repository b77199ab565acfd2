"""The text grammar: what it reads, what it prints, and what it answers to a mistake."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import diffdescent as dd
from diffdescent.core.grammar import print_value, read_value
from diffdescent.core.grid import GRIDS, make_grid
from diffdescent.core.process import VP
from diffdescent.core.recipe import (
    ALIASES,
    GRID_ALIASES,
    SCHEDULERS,
    TRANSFORMS,
    default_grid,
    parse,
    parse_grid,
)
from diffdescent.core.recipe.elements import split_chain
from diffdescent.core.solvers import SOLVERS
from diffdescent.core.solvers.ddim import DDIM

PROCESS = VP.named("linear")


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_every_solver_variant_prints_and_reads_back(name: str) -> None:
    for options in SOLVERS[name].variants:
        recipe = dd.Recipe(SOLVERS[name](**options))
        assert parse(str(recipe)) == recipe


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_every_transform_prints_and_reads_back(name: str) -> None:
    recipe = parse(name)
    assert recipe.transforms == (TRANSFORMS[name](),)
    assert recipe.solver == DDIM()
    assert parse(str(recipe)) == recipe


@given(
    gamma=st.floats(-5, 5),
    betas=st.lists(st.floats(-0.99, 0.99), min_size=1, max_size=4),
    warm=st.sampled_from([True, False, "auto"]),
)
def test_options_survive_a_round_trip(gamma: float, betas: list[float], warm: bool | str) -> None:
    beta = betas[0] if len(betas) == 1 else tuple(betas)
    recipe = dd.sampler("ddim") | dd.gradient_estimation(gamma) | dd.momentum(beta, warm)  # type: ignore[arg-type]
    assert parse(str(recipe)) == recipe


def test_text_and_python_make_the_same_chain() -> None:
    text = parse("ge(gamma=1.5) | momentum(beta=-0.3)")
    chain = dd.sampler("ddim") | dd.gradient_estimation(1.5) | dd.momentum(-0.3)
    assert text == chain
    assert text == parse("ddim|ge( 1.5 )|momentum( -.3 )")


def test_bare_values_after_a_key_extend_it() -> None:
    assert parse("momentum(beta=-0.3,-0.2,0.1, warm_start=true)").transforms == (
        dd.momentum((-0.3, -0.2, 0.1), True),
    )
    assert parse("momentum(beta=[-0.3, -0.2])").transforms == (dd.momentum((-0.3, -0.2)),)


@pytest.mark.parametrize("name", sorted(ALIASES))
def test_every_name_from_elsewhere_is_understood(name: str) -> None:
    recipe = parse(name)
    grid = parse_grid(default_grid(recipe, PROCESS), PROCESS, 10)
    assert recipe.plan(grid).steps == grid.steps


@pytest.mark.parametrize(
    ("name", "meaning", "grid"),
    [
        ("euler_a", "euler(eta=1)", None),
        ("DPM++ 2M Karras", "dpmpp(order=2, lower_order_final=never)", "karras"),
        (
            "DPM++ 3M SDE Exponential",
            "dpmpp(order=3, eta=1, released=true, lower_order_final=never)",
            "exponential",
        ),
        (
            "sample_dpmpp_2s_ancestral",
            "dpmpp(order=2, method=singlestep, eta=1, noise=ancestral)",
            None,
        ),
        ("ipndm", "ipndm", None),
    ],
)
def test_names_from_elsewhere(name: str, meaning: str, grid: str | None) -> None:
    assert parse(name) == parse(meaning)
    assert parse(name).grid == grid
    assert parse(name).usual_grid is None


@pytest.mark.parametrize("name", SCHEDULERS)
def test_scheduler_classes(name: str) -> None:
    """A class's name is its recipe; its grid is for where nothing else says the levels."""
    text, grid = SCHEDULERS[name]
    assert parse(name) == parse(text)
    assert (parse(name).grid, parse(name).usual_grid) == (None, grid)
    assert parse(f"{name} Karras").grid == "karras"
    assert default_grid(parse(name), PROCESS) == grid
    assert default_grid(parse(f"{name} Karras"), PROCESS) == "karras"


@pytest.mark.parametrize("name", sorted({*GRIDS, *GRID_ALIASES} - {"explicit"}))
def test_every_grid_name_builds_a_grid(name: str) -> None:
    grid = parse_grid(name, PROCESS, 12)
    assert 1 <= grid.steps <= 12
    assert np.all(np.diff(grid.ratio) < 0)


def test_grid_options() -> None:
    assert parse_grid("loglinear(start=20, last=0.1)", PROCESS, 10).t.tolist() == [
        769, 689, 600, 499, 386, 269, 167, 95, 52, 27, 0,
    ]  # fmt: skip
    assert parse_grid("explicit(t=999, 500, 0)", PROCESS, 7).t.tolist() == [999, 500, 0]
    assert np.allclose(parse_grid("explicit(ratio=[80, 5.5, 0])", PROCESS, 1).ratio, [80, 5.5, 0])
    assert parse_grid("uniform(trailing)", PROCESS, 4).t.tolist() == [999, 749, 499, 249, -1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gee", ["did you mean", "'ge'"]),
        ("ddmi", ["'ddim'"]),
        ("ge(gama=2)", ["gama", "'gamma'"]),
        ("ge(gamma=two)", ["gamma", "a number", "'two'"]),
        ("ddim(eta=3)", ["eta", "[0, 1]"]),
        ("momentum(beta=1)", ["(−1, 1)"]),
        ("momentum(beta=-0.3, beta=-0.2)", ["twice"]),
        ("momentum(-0.3, beta=-0.2)", ["twice"]),
        ("ddim(0.5, 1, 2)", ["at most 2"]),
        ("ddim | plms", ["comes first"]),
        ("ge | ge", ["one gradient estimation"]),
        ("ge(", ["expected a value", "the end"]),
        ("ge(2", ["','"]),
        ("ge) | x", ["position 2"]),
        ("ge |", ["missing before or after"]),
        ("", ["missing"]),
        ("plms | ge", ["force"]),
    ],
)
def test_mistakes_are_answered_in_one_sentence(text: str, words: list[str]) -> None:
    with pytest.raises(dd.UserError) as caught:
        parse(text).plan(parse_grid("uniform", PROCESS, 10))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "steps", "words"),
    [
        ("lolinear", 5, ["did you mean", "'loglinear'"]),
        ("karras(row=7)", 5, ["row", "'rho'"]),
        ("uniform(spacing=middle)", 5, ["'leading' or 'trailing' or 'linspace'"]),
        ("uniform", 0, ["at least 1 step"]),
        ("uniform", 2000, ["1000"]),
        ("karras(start=0.001)", 5, ["lowest"]),
        ("uniform(end=-1)", 5, ["cannot end"]),
        ("uniform(end=nowhere)", 5, ["end"]),
        ("ays(model=sd9)", 5, ["sd1"]),
        ("explicit", 5, ["give t="]),
        ("explicit(t=999, 500, 500)", 5, ["monotone", "step 1"]),
    ],
)
def test_grid_mistakes(text: str, steps: int, words: list[str]) -> None:
    with pytest.raises(dd.UserError) as caught:
        parse_grid(text, PROCESS, steps)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("karras", {"rho": float("inf")}, "karras(rho=inf)"),
        ("uniform", {"spacing": "middle"}, "uniform(spacing=middle)"),
        ("uniform", {"snap": 1}, "uniform(snap=1)"),
        ("karras", {"row": 7}, "karras(row=7)"),
    ],
)
def test_a_grid_from_python_is_refused_as_one_from_text(
    name: str, options: dict[str, object], text: str
) -> None:
    with pytest.raises(dd.UserError) as of_python:
        make_grid(name, PROCESS, 5, **options)
    with pytest.raises(dd.UserError) as of_text:
        parse_grid(text, PROCESS, 5)
    assert str(of_python.value) == str(of_text.value)


def test_duplicates_are_removed_and_reported() -> None:
    grid = parse_grid("quadratic", PROCESS, 50)
    assert grid.steps == 49  # 49 distinct values for N = 50
    assert "1 duplicate" in grid.notes[0]
    assert [parse_grid("quadratic", PROCESS, n).steps for n in (100, 250)] == [97, 231]


def test_an_unknown_transform_type_is_not_chained() -> None:
    with pytest.raises(TypeError):
        dd.sampler("ddim") | 3  # type: ignore[operator]


def test_options_are_dataclass_fields_with_defaults() -> None:
    for cls in (*SOLVERS.values(), *TRANSFORMS.values()):
        for field in (f for f in dataclasses.fields(cls) if f.init):
            assert field.default is not dataclasses.MISSING, (
                f"{cls.name}.{field.name} needs a default for the grammar"
            )


@given(st.text(st.characters(blacklist_categories=("Cs",)), max_size=12))
def test_every_text_prints_and_reads_back(text: str) -> None:
    assert read_value(print_value(text)) == text


def test_a_bar_within_quotes_is_a_character() -> None:
    assert split_chain("a('x|y') | b(\"z|\")") == ["a('x|y')", 'b("z|")']
    with pytest.raises(dd.UserError, match=r"a\|b\.json"):
        parse("calibrated('a|b.json')")
