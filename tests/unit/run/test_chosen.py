"""Which sampler runs where none is named, and the samplers that ship with the package."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent import UserError
from diffdescent.base.assets import CALIBRATED
from diffdescent.core.model_info import info
from diffdescent.core.spectrum.bundled import bundled_samplers
from diffdescent.core.spectrum.fitted import load_fitted
from diffdescent.models import bundled
from diffdescent.run import prepare

MIXTURE = "cifar10-mixture"
NAME = f"{MIXTURE}-unlabelled-5"


def test_every_bundled_file_is_what_its_name_says() -> None:
    found = bundled_samplers()
    assert {f"{name}.json" for name in found} == {p.name for p in CALIBRATED.glob("*.json")}
    for name, path in found.items():
        fitted = load_fitted(path)
        assert int(name.rpartition("-")[2]) == fitted.nfe
        assert fitted.fitted_for["model"] in bundled()
        assert name.startswith(fitted.fitted_for["model"])


@pytest.mark.parametrize("model", [MIXTURE, "mnist"])
def test_the_default_is_the_sampler_that_was_fitted(model: str) -> None:
    named = dd.sample(model, f"calibrated('{model}-unlabelled-5')", n=2)
    result = dd.sample(model, steps=5, n=2)
    assert result.record.recipe == f"calibrated(file={model}-unlabelled-5)"
    assert torch.equal(result.images, named.images)
    assert "was fitted to this model" in str(result.record.reason)
    assert named.record.reason is None
    name = f"{model}-unlabelled-5"
    assert result.record.files == {name: load_fitted(bundled_samplers()[name]).digest}


IMAGE = torch.zeros(1, 3, 32, 32)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"steps": 7}, "ddim | ge is the preset for 7 steps"),
        ({"steps": 20}, "unipc is the preset for 20 steps"),
        ({"guidance": "cfg(scale=2)", "labels": 3}, "other guidance"),
        ({"shape": (3, 16, 16)}, "another shape"),
        ({"grid": "karras"}, "a grid is named"),
        ({"init": IMAGE, "strength": 0.5}, "images to begin with"),
        ({"start": IMAGE}, "the start is given"),
    ],
)
def test_off_calibration_the_fixed_sampler_stays(options: dict[str, Any], reason: str) -> None:
    run = prepare(MIXTURE, **{"steps": 5, **options})
    assert not str(run.recipe.solver).startswith("Calibrated")
    assert reason in str(run.reason)


@pytest.mark.parametrize("steps", [5, 20])
def test_under_cfg_the_preset_is_unipc_on_diffusers_levels(steps: int) -> None:
    found = prepare("mnist", guidance="cfg(scale=2)", labels=3, steps=steps)
    assert "is the preset under classifier-free guidance" in str(found.reason)
    assert str(found.recipe) == "unipc"
    named = prepare("mnist", "unipc", guidance="cfg(scale=2)", labels=3, steps=steps,
                    grid="uniform(spacing=linspace, open=true)")  # fmt: skip
    assert found.plan.grid.t.tolist() == named.plan.grid.t.tolist()
    other = prepare("mnist", guidance="cfg(scale=2)", labels=3, steps=steps, grid="karras")
    assert other.plan.grid.name == "karras"
    for plain in ("classifier(scale=2, model='cifar10-guide')",):
        run = prepare("cifar10", guidance=plain, labels=3, steps=20)
        assert run.plan.grid.name.startswith("loglinear")


def test_a_flow_under_cfg_keeps_its_own_levels() -> None:
    flow = dd.Network(
        lambda x, t, cond: x, process=dd.Flow(), kind="flow", shape=(3, 8, 8), label_count=3
    )
    run = prepare(flow, guidance="cfg(scale=2)", labels=1, steps=20)
    assert run.plan.grid.t.tolist() == prepare(flow, steps=20, labels=1).plan.grid.t.tolist()


def test_another_model_keeps_the_preset() -> None:
    model = dd.load_model(MIXTURE)
    other = dd.Network(lambda x, t, cond: x, process=model.process, kind="eps", shape=(3, 32, 32))
    assert prepare(other, steps=5).reason == "ddim | ge is the preset for 5 steps"
    assert info(other).fingerprint != info(model).fingerprint


def test_a_file_that_has_changed_does_not_repeat_a_run(tmp_path: Path) -> None:
    path = tmp_path / "own.json"
    path.write_text((CALIBRATED / f"{NAME}.json").read_text())
    result = dd.sample(MIXTURE, f"calibrated('{path}')", n=1)
    assert torch.equal(dd.repeat(result.record).images, result.images)
    content = json.loads(path.read_text())
    content["rows"][0]["base"][0][0] += 1e-3
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="has changed since the run"):
        dd.repeat(result.record)


def test_a_run_that_goes_on_may_name_what_was_the_default(tmp_path: Path) -> None:
    from diffdescent.apps.cli.output import RUN
    from diffdescent.run.store import Store

    record = prepare(MIXTURE, steps=5).record()
    Store(tmp_path, RUN, record.entries()).claim()
    named = prepare(MIXTURE, f"calibrated({NAME})").record()
    assert named == dataclasses.replace(record, reason=None)
    Store(tmp_path, RUN, named.entries()).check()


def test_labels_are_those_of_the_fit() -> None:
    fitted = {name: load_fitted(path).fitted_for for name, path in bundled_samplers(5).items()}
    for labels in (None, 3):
        run = prepare(MIXTURE, steps=5, labels=labels)
        named = str(run.recipe).removeprefix("calibrated(file=").removesuffix(")")
        if named in fitted:
            assert (fitted[named]["labels"] == "none") == (labels is None)
        else:
            assert "was fitted for samples without labels" in str(run.reason)


def test_rows_that_use_what_was_not_kept_are_refused(tmp_path: Path) -> None:
    content = json.loads((CALIBRATED / f"{NAME}.json").read_text())
    content["rows"][1]["evals"] = content["rows"][1]["evals"][:1]
    content["rows"][2]["evals"] = (content["rows"][2]["evals"] * 3)[:3]
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"rows\[2\] uses evaluations that rows\[1\] has not kept"):
        load_fitted(path)


@pytest.mark.parametrize("threads", [1, 2])
def test_every_model_is_known_with_any_number_of_threads(threads: int) -> None:
    """What a model computes from its file (eigenvectors) differs by rounding; its fingerprint must
    not, or the bundled samplers would not be found."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for name, path in bundled_samplers(5).items():
            fitted = load_fitted(path).fitted_for
            assert info(dd.load_model(fitted["model"])).fingerprint == fitted["fingerprint"], name
    finally:
        torch.set_num_threads(before)
