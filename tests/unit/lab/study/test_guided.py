"""Studies under guidance: each sampler keeps its grid, its fit and its number of steps."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

import diffdescent as dd
from diffdescent.core.recipe import default_grid, parse
from diffdescent.core.spectrum import bundled
from diffdescent.core.spectrum.bundled import sampler_file
from diffdescent.lab.study import execute, prepare, recommendations, rivals
from tests.unit.lab.study.conftest import Make

FITTED = "calibrated('cifar10-cfg4-3')"
QUICK = {"model": "cifar10", "metrics": "solution_rmse", "grids": "usual", "labels": "cycle"}
FEW = {"n": 2, "solution": 8, "resamples": 0, "nfe": [6]}


@pytest.mark.parametrize("turn", [1, -1])
def test_two_names_of_one_recipe_keep_their_grids(make: Make, tmp_path: Path, turn: int) -> None:
    names = ["UniPCMultistepScheduler", "unipc", "DPM++ 2M Karras", "dpmpp(order=2)"][::turn]
    entries = {**QUICK, "model": "cifar10-mixture", "nfe": [8]}
    study = prepare(make(samplers=names, guidance="cfg(scale=2)", **entries), tmp_path)
    process = study.worker.model.process
    expected = [(name, default_grid(parse(name), process)) for name in names]
    assert [(cell.sampler, cell.grid) for cell in study.cells] == expected
    assert len({cell.key for cell in study.cells}) == len(names)


def test_a_recipe_in_python_brings_its_grid() -> None:
    recipes = [dd.sampler("DPM++ 2M Karras"), dd.sampler("dpmpp(order=2)")]
    found = dd.compare(
        "cifar10-mixture", recipes, nfe=4, n=2, solution=8, resamples=0, metrics="solution_rmse"
    )
    assert {line.columns["grid"] for line in found.results.lines} == {"karras", "loglinear"}


def test_a_calibrated_sampler_under_its_own_guidance(make: Make, tmp_path: Path) -> None:
    config = make(samplers=[FITTED], guidance="cfg(scale=4)", **QUICK, **FEW)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        results = execute(config, tmp_path)
    (line,) = results.lines
    assert (line.columns["nfe"], line.columns["steps"]) == (6, 3)
    assert f"| {FITTED} | 6 | 3 |" in (tmp_path / "report.md").read_text()
    (best,) = recommendations(results)
    assert best.steps == 3


def test_levels_that_are_given_are_counted_whatever_is_asked(make: Make, tmp_path: Path) -> None:
    grid = "explicit(ratio=[40, 5, 1, 0])"
    config = make(samplers=["ddim"], grids=[grid], nfe=None, steps=[1, 3, 9])
    (cell,) = prepare(config, tmp_path).cells
    assert (cell.nfe, cell.steps) == (3, 3)


def test_a_calibrated_sampler_under_other_guidance_warns(make: Make, tmp_path: Path) -> None:
    config = make(samplers=[FITTED], guidance="cfg(scale=2)", **QUICK, **FEW)
    here = r"cfg\(scale=4.0\) there, cfg\(scale=2.0\) here"
    with pytest.warns(UserWarning, match=here):
        execute(config, tmp_path)


def test_a_sampler_s_file_is_part_of_what_makes_a_cell(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    content = json.loads(sampler_file("cifar10-cfg4-3").read_text())
    keys = set()
    for change in (0.0, 1e-3):
        content["rows"][0]["base"][0][0] += change
        path.write_text(json.dumps(content))
        entries = {**QUICK, **FEW, "labels": "none", "nfe": [3]}
        (cell,) = prepare(make(samplers=[f"calibrated('{path}')"], **entries), tmp_path / "o").cells
        keys.add(cell.key)
    assert len(keys) == 2


def test_only_the_files_of_a_budget_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load = bundled.load_fitted

    def seen(path: Path) -> object:
        read.append(path.stem)
        return load(path)

    bundled.bundled_sampler.cache_clear()
    monkeypatch.setattr(bundled, "load_fitted", seen)
    model = dd.load_model("cifar10")
    found = list(rivals.fitted_samplers(model, 6, "cfg(scale=4)", "cycle"))
    assert found == ["calibrated(cifar10-cfg4-3)"]
    assert {int(name.rpartition("-")[2]) for name in read} <= {3, 4, 5, 6}
    read.clear()
    assert list(rivals.fitted_samplers(model, 8)) == ["calibrated(cifar10-unlabelled-8)"]
    assert {name.rpartition("-")[2] for name in read} == {"8"}
