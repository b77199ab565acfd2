"""Recipes: what is read, overridden and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diffdescent.base.errors import UserError
from diffdescent.lab.train import load_config, make_config
from diffdescent.lab.train.optimizer import rate
from tests.paths import ROOT
from tests.unit.lab.train.conftest import write_recipe

RECIPES = sorted((ROOT / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_the_committed_recipes_are_recipes(path: Path) -> None:
    assert load_config(path).out == f"runs/{path.stem}"


def test_overrides_are_yaml_values(tmp_path: Path, values: dict[str, Any]) -> None:
    path = write_recipe(tmp_path / "a.yaml", values)
    config = load_config(path, ["run.steps=7", "loss.prediction=v", "optimizer.betas=[0.8, 0.9]"])
    assert (config.run.steps, config.loss.prediction, config.optimizer.betas) == (
        7,
        "v",
        (0.8, 0.9),
    )


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run.step=7", r"run\.step: extra inputs"),
        ("run.steps=-1", r"run\.steps: input should be greater than 0"),
        ("loss.prediction=x0", r"loss\.prediction.*'eps' or 'v'"),
        ("optimizer.betas=[0.9,1.0]", r"optimizer\.betas\.1: input should be less than 1"),
        ("run.seed=18446744073709551616", r"run\.seed: input should be less than"),
        ("run.steps", "says no value"),
        ("out.steps=3", "not a section"),
    ],
)
def test_bad_settings_are_named(
    tmp_path: Path, values: dict[str, Any], override: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_config(write_recipe(tmp_path / "a.yaml", values), [override])


def test_a_guide_is_of_a_vp_process(tmp_path: Path, values: dict[str, Any]) -> None:
    recipe = write_recipe(tmp_path / "a.yaml", {**values, "task": "guide"})
    with pytest.raises(UserError, match=r"a guide learns on a vp process; say process\.kind: vp"):
        load_config(recipe, ["process.kind=edm"])


def test_what_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training recipe"):
        load_config(tmp_path / "none.yaml")
    (tmp_path / "a.yaml").write_text("a: [1")
    with pytest.raises(UserError, match="not YAML"):
        load_config(tmp_path / "a.yaml")
    (tmp_path / "a.yaml").write_text("- 1")
    with pytest.raises(UserError, match="holds no sections"):
        load_config(tmp_path / "a.yaml")


def test_the_rate_rises_stays_and_falls_to_zero(values: dict[str, Any]) -> None:
    values["optimizer"] = {"lr": 1.0, "warmup": 2, "decay": 4}
    config = make_config(values).optimizer
    assert [rate(config, step, 10) for step in range(10)] == [
        0.5,
        1,
        1,
        1,
        1,
        1,
        1,
        0.75,
        0.5,
        0.25,
    ]
