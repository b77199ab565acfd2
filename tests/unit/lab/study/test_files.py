"""Every study file can be read, and every one of its cells planned on the bundled model."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from diffdescent.core import recipe as recipes
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import Recipe
from diffdescent.core.solvers.gamma import load_gamma
from diffdescent.guidance import apply_guidance
from diffdescent.lab.study import StudyConfig, load_study
from diffdescent.lab.study.cells import Cell, expand, labels_for
from diffdescent.lab.study.metrics import lower_is_better
from diffdescent.lab.study.published import selects
from diffdescent.models import load_model
from tests.paths import ROOT

FILES = sorted((ROOT / "studies").glob("*.yaml"))
MODEL = load_model("cifar10")


def guide(text: str, recipe: Recipe) -> tuple[Predictor, Recipe]:
    return (MODEL, recipe) if text == "none" else apply_guidance(text, MODEL, recipe)


@cache
def planned(path: Path) -> tuple[StudyConfig, list[Cell]]:
    config = load_study(path)
    cells, left_out = expand(config, guide, {})
    assert not left_out
    return config, cells


def test_there_is_a_file_for_each_experiment() -> None:
    names = {path.stem for path in FILES}
    assert {f"pxp-table-{i}" for i in (1, 2, 4, 5, 6, 8, 9)} <= names
    assert {
        "samplers-momentum",
        "samplers-gradient-estimation",
        "beta",
        "gamma",
        "schedules",
        "cost",
        "guidance-scale",
    } <= names


def test_gamma_was_measured_on_the_network_of_now() -> None:
    """As ``diffdescent gamma`` wrote it; another network has another Γ."""
    assert load_gamma(ROOT / "studies" / "cifar10-gamma.json").model == info(MODEL).fingerprint


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_cell_can_be_planned(path: Path) -> None:
    config, cells = planned(path)
    assert config.mirrors
    assert config.about
    for cell in cells:
        model, recipe = guide(cell.guidance, recipes.parse(cell.sampler))
        plan = recipe.plan(recipes.parse_grid(cell.grid, model.process, cell.steps))
        for displacement in recipe.displacements:
            displacement.init(plan)  # refuses steps that it cannot act on
        if cell.asked is not None:
            assert cell.nfe <= cell.asked
        if cell.guidance != "none":
            assert labels_for(cell.labels, model, range(2)) is not None


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_published_row_has_its_cells_here(path: Path) -> None:
    config, cells = planned(path)
    columns = [{**cell.columns(), **dict(cell.parameters)} for cell in cells]
    for table in config.published:
        metrics = table.columns if table.by == "metric" else [table.metric]
        assert all(isinstance(lower_is_better(str(metric)), bool) for metric in metrics)
        for row in table.rows:
            if row.cells is None:
                continue
            for column, value in zip(table.columns, row.values, strict=True):
                wanted = {**table.cells, **row.cells}
                if table.by != "metric":
                    wanted["nfe_asked" if table.by == "nfe" else table.by] = column
                found = [c for c in columns if selects(wanted, c)]
                assert len(found) <= 1, (row.name, column)
                assert found or value is None or table.shown, (row.name, column)


def test_one_number_scales_a_study() -> None:
    config = load_study(FILES[0], {"n": 64})
    assert config.n == 64
