"""How a study's axes become cells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.lab.study import StudyConfig, load_study, make_study, prepare
from diffdescent.lab.study.cells import Cell, labels_for
from diffdescent.lab.study.config import split_outside
from diffdescent.models import load_model
from tests.unit.lab.study.conftest import Make


def cells(config: StudyConfig, tmp_path: Path) -> tuple[Cell, ...]:
    return prepare(config, tmp_path / "out").cells


def test_the_product_of_all_axes(make: Make, tmp_path: Path) -> None:
    config = make(
        samplers="ddim; ddim | momentum({beta})",
        parameters={"beta": [-0.3, 0.2]},
        grids="loglinear,quadratic",
        seeds=[0, 1],
    )
    found = cells(config, tmp_path)
    assert len(found) == 3 * 2 * 2 * 2
    assert len({cell.key for cell in found}) == len(found)
    assert {cell.sampler for cell in found} == {
        "ddim",
        "ddim | momentum(-0.3)",
        "ddim | momentum(0.2)",
    }
    assert {dict(cell.parameters).get("beta") for cell in found} == {None, -0.3, 0.2}
    assert all(cell.nfe == cell.asked == cell.steps for cell in found if cell.grid == "loglinear")


def test_a_sampler_with_its_own_grid_stands_once(make: Make, tmp_path: Path) -> None:
    found = cells(make(samplers="ddim; ge @ karras", grids="loglinear,quadratic", nfe=4), tmp_path)
    assert [(c.sampler, c.grid) for c in found] == [
        ("ddim", "loglinear"),
        ("ddim", "quadratic"),
        ("ge", "karras"),
    ]


def test_a_calibrated_sampler_stays_on_its_levels_whatever_the_grids(
    make: Make, tmp_path: Path
) -> None:
    samplers = "calibrated('cifar10-mixture-unlabelled-5') | momentum(-0.1); ddim"
    found = cells(make(samplers=samplers, grids="loglinear,quadratic", nfe=5), tmp_path)
    calibrated = [cell.grid for cell in found if cell.sampler.startswith("calibrated")]
    assert len(calibrated) == 1
    assert calibrated[0].startswith("explicit(")
    assert [cell.grid for cell in found if cell.sampler == "ddim"] == ["loglinear", "quadratic"]


def test_the_usual_grid_is_the_recipes_own(make: Make, tmp_path: Path) -> None:
    found = cells(make(grids="usual", nfe=4), tmp_path)
    assert [(c.sampler, c.grid) for c in found] == [
        ("ddim", "uniform(spacing=trailing)"),
        ("ge", "loglinear"),
    ]


def test_blocks_override_what_they_name(make: Make, tmp_path: Path) -> None:
    config = make(blocks=[{"name": "few", "steps": [3]}, {"samplers": ["unipc"], "seeds": [7]}])
    found = cells(config, tmp_path)
    assert [(c.name, c.sampler, c.asked, c.steps, c.seed) for c in found] == [
        ("few", "ddim", None, 3, 0),
        ("few", "ge", None, 3, 0),
        ("", "unipc", 4, 4, 7),
        ("", "unipc", 8, 8, 7),
    ]


def test_a_parameter_of_guidance_and_sampler_runs_once(make: Make, tmp_path: Path) -> None:
    config = make(
        model="cifar10",
        samplers="ddim | momentum({v})",
        guidance="none; cfg(scale={v})",
        metrics="is",
        parameters={"v": [0.2, 0.4]},
        labels="cycle",
        nfe=8,
    )
    found = cells(config, tmp_path)
    assert [(c.sampler, c.guidance, c.nfe, c.steps) for c in found] == [
        ("ddim | momentum(0.2)", "none", 8, 8),
        ("ddim | momentum(0.4)", "none", 8, 8),
        ("ddim | momentum(0.2)", "cfg(scale=0.2)", 8, 4),
        ("ddim | momentum(0.4)", "cfg(scale=0.4)", 8, 4),
    ]


def test_what_a_budget_cannot_pay_for_is_left_out_and_says_why(make: Make, tmp_path: Path) -> None:
    study = prepare(make(samplers="ddim; pndm", nfe=[1, 4]), tmp_path / "out")
    assert [(c.sampler, c.asked, c.nfe) for c in study.cells] == [
        ("ddim", 1, 1),
        ("ddim", 4, 4),
        ("pndm", 4, 4),
    ]
    (left,) = study.left_out
    assert (left.sampler, left.asked) == ("pndm", 1)
    assert left.reason == "a budget of 1 network evaluations pays for no step; the cheapest costs 4"


def test_cells_differ_by_everything_that_makes_their_images(make: Make, tmp_path: Path) -> None:
    one = make(samplers="ddim", nfe=4)
    keys = {cells(one, tmp_path)[0].key}
    for change in (
        {"samplers": "ddim(eta=1)"},
        {"nfe": 5},
        {"grids": "karras"},
        {"seeds": 1},
        {"micro_batch": 3},
        {"labels": "cycle", "metrics": "is"},
        {"threads": 2},
    ):
        keys.add(cells(make(**{"samplers": "ddim", "nfe": 4, **change}), tmp_path)[0].key)
    assert len(keys) == 8
    assert cells(make(samplers="ddim", nfe=4, n=99, shard=7, batch_size=3), tmp_path)[0].key in keys


def test_labels(tiny: Path) -> None:
    model = load_model("cifar10")
    assert labels_for("none", model, range(3)) is None
    assert torch.equal(labels_for("cycle", model, range(8, 12)), torch.tensor([8, 9, 0, 1]))  # type: ignore[arg-type]
    assert torch.equal(labels_for("cat, 0", model, range(3)), torch.tensor([3, 0, 3]))  # type: ignore[arg-type]
    assert torch.equal(
        labels_for("cycle", load_model(str(tiny)), range(3)), torch.tensor([0, 1, 0])
    )  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"Unknown class 'catt'; did you mean 'cat'"):
        labels_for("catt", model, range(3))
    with pytest.raises(UserError, match="Label -1 is out of range"):  # as on every command line
        labels_for("cat, -1", model, range(3))
    with pytest.raises(UserError, match="knows no classes"):
        labels_for("cycle", _Classless(), range(3))


class _Classless:
    process, shape = None, (3, 4, 4)


def test_separators_within_brackets_do_not_count() -> None:
    assert split_outside("ddim, loglinear(start=40, last=1); x[1,2]", ",;") == [
        "ddim",
        "loglinear(start=40, last=1)",
        "x[1,2]",
    ]


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (
            {"samplers": "ddim | momentum({beta})"},
            "names the parameter 'beta', which has no values",
        ),
        ({"parameters": {"beta": [1]}}, "'beta' has values, but no sampler"),
        ({"samplers": "ddimm"}, "Unknown sampler or transform 'ddimm'; did you mean 'ddim'"),
        ({"samplers": "ddim | momentum({beta)"}, "Cannot read"),
        ({"grids": "loglinar"}, "Unknown grid 'loglinar'; did you mean 'loglinear'"),
        ({"metrics": "fud"}, "Unknown metric 'fud'; did you mean 'fd'"),
        ({"metrics": "fd"}, "give a folder, zip or npz of them as --reference"),
        ({"metrics": "rmse", "labels": "cycle"}, "without labels and guidance"),
        ({"metrics": "is", "labels": "a,c"}, "Unknown class 'c'"),
        (
            {"metrics": "is", "labels": ["2"]},
            "Label 2 is out of range; this model has classes 0 … 1",
        ),
        (
            {"metrics": "is", "blocks": [{"labels": "a"}, {"labels": "aa"}]},
            "Unknown class 'aa'; did you mean 'a'",
        ),
        (
            {"metrics": "is", "model": "cifar10", "guidance": "none; cfg(2)"},
            "needs to know the class; give labels",
        ),
        (
            {"metrics": "is", "model": "cifar10", "guidance": "classifier(2, interval=[0.3, 2])"},
            "needs to know the class; give labels",
        ),
        ({"dtype": "bf16"}, "this model computes in its own precision"),
        ({"nfe": [4, 2000]}, None),
    ],
)
def test_mistakes_are_told_before_anything_runs(
    make: Make, tmp_path: Path, entries: dict[str, object], message: str | None
) -> None:
    if message is None:
        left = prepare(make(**entries), tmp_path / "out").left_out
        assert "more than the 1000" in left[0].reason
        return
    with pytest.raises(UserError, match=re.escape(message)):
        prepare(make(**entries), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_agreement_needs_labels(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give --labels cycle"):
        prepare(make(metrics="is, agreement"), tmp_path / "out")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nfe": [5]}, "names no samplers"),
        ({"samplers": "ddim"}, "names neither nfe nor steps"),
        ({"samplers": "ddim", "nfe": [5], "steps": [5]}, "give nfe or steps, not both"),
        ({"samplers": "ddim", "nfe": [0]}, "at least 1"),
        ({"samplers": "ddim", "nfe": "five"}, "nfe: write whole numbers"),
        ({"samplers": "ddim", "nfe": 5, "n": 0}, "n: input should be greater than or equal to 1"),
        (
            {"samplers": "ddim", "nfe": 5, "sampler": "ge"},
            "unknown entry 'sampler'; did you mean 'samplers'",
        ),
        ({"samplers": [], "nfe": 5}, "samplers: an axis needs at least one value"),
        (
            {
                "samplers": "ddim",
                "nfe": 5,
                "published": [
                    {
                        "table": "T",
                        "by": "metric",
                        "columns": ["fd"],
                        "rows": [{"name": "x", "values": [1, 2]}],
                    }
                ],
            },
            "row 'x' has 2 values for 1 columns",
        ),
    ],
)
def test_a_study_that_is_none_is_refused_in_one_sentence(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        make_study(values)


def test_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no study file"):
        load_study(tmp_path / "no.yaml")
    path = tmp_path / "s.yaml"
    path.write_text("samplers: [ddim\n")
    with pytest.raises(UserError, match="is not YAML"):
        load_study(path)
    path.write_text("- 1\n")
    with pytest.raises(UserError, match="holds no study"):
        load_study(path)
    path.write_text("samplers: ddim; ge\nnfe: 5, 10\nn: 100\n")
    config = load_study(path, {"n": 7})
    assert (config.samplers, config.nfe, config.n) == (("ddim", "ge"), (5, 10), 7)


def test_entries_are_replaced_by_path_and_what_changes_the_measurement_is_told(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(
        "samplers: ddim\nsteps: [250]\nn: 100\nblocks: [{name: a}, {name: b, steps: [9, 8]}]\n"
    )
    assert load_study(path).changes == ()
    changed = {
        "steps": 50,
        "blocks.1.steps": [4],
        "n": 100,
        "dtype": "bf16",
        "shard": 7,
        "reference": "photos.zip",
    }
    config = load_study(path, changed)
    assert [(block.name, block.steps) for block in config.products] == [("a", (50,)), ("b", (4,))]
    assert config.changes == (
        "steps = 50 in place of 250",
        "blocks.1.steps = 4 in place of 9, 8",
        "dtype = bf16 in place of float32",
    )
    for wrong in (
        "blocks.2.steps",
        "blocks.x.steps",
        "n.steps",
        "samplers.0.steps",
        "block.0.steps",
    ):
        with pytest.raises(UserError, match=f"no entry {wrong}; write one that"):
            load_study(path, {wrong: 1})
    with pytest.raises(UserError, match="unknown entry 'step'; did you mean 'steps'"):
        load_study(path, {"step": 1})


@pytest.mark.parametrize("text", ["ge, unipc", "ge(gamma=2), unipc; ddim"])
def test_commas_between_samplers(make: Make, text: str) -> None:
    with pytest.raises(UserError, match=r"samplers: 'ge.*, unipc' is not one; write ; between"):
        make(samplers=text)
