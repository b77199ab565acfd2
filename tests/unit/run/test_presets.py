"""Presets: settings of published rows."""

import re
from pathlib import Path

import pytest

import diffdescent as dd
from diffdescent.core.process import VP
from diffdescent.core.recipe import parse, parse_grid
from diffdescent.guidance import parse_guidance
from diffdescent.models.convert.settings import PUBLISHED
from diffdescent.run import prepare
from diffdescent.run.presets import PRESETS, Preset, preset

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("chosen", PRESETS.values(), ids=list(PRESETS))
def test_every_preset_is_read(chosen: Preset) -> None:
    assert chosen.checkpoint in PUBLISHED
    assert chosen.classifier is None or chosen.classifier in PUBLISHED
    for steps in chosen.rows:
        found = chosen.arguments(steps, "cifar10-guide", 1000)
        grid = parse_grid(found["grid"], VP.named(), steps)
        assert parse(found["recipe"]).plan(grid).nfe == grid.steps <= steps
        if chosen.classifier:
            text = found["guidance"]
            assert ("conditional=true" in text) == ("uncond" not in chosen.checkpoint)
            assert parse_guidance(text) is not None
            assert found["labels"].endswith("998, 999")


def test_settings_are_the_papers() -> None:
    celeba = preset("ge-celeba")
    assert celeba.arguments(50)["recipe"] == "ge(gamma=2.8)"
    assert celeba.arguments(50)["grid"] == "loglinear(start=120)"
    assert celeba.arguments()["steps"] == 10
    times = parse_grid(preset("ge-cifar10").arguments(10)["grid"], VP.named(), 10).t
    assert times.tolist() == [853, 765, 665, 549, 415, 271, 149, 73, 33, 14, 0]
    text = preset("adm-256-pxp").arguments(classifier="C", classes=2)["guidance"]
    assert text == (
        "classifier(scale=0.7, model='C', conditional=true) | pxp(delta=[1, 1, 0.001, 0.001])"
    )


def test_a_preset_is_keywords_of_a_run() -> None:
    run = prepare("cifar10", **preset("ge-cifar10").arguments(5), n=1)
    assert (run.plan.nfe, run.grid.name) == (5, "loglinear(start=40.0)")


def test_what_is_not_there() -> None:
    with pytest.raises(dd.UserError, match="has 10, 5, 20, 50 steps, not 7"):
        preset("ge-cifar10").arguments(7)
    with pytest.raises(dd.UserError, match="did you mean 'ge-cifar10'"):
        preset("ge-cifar")
    with pytest.raises(dd.UserError, match="give the folder of adm_classifier64, converted"):
        preset("adm-64-pxp").arguments()
    with pytest.raises(dd.UserError, match="say how many there are"):
        preset("adm-64-pxp").arguments(classifier="C")


def test_the_page_has_them_all() -> None:
    text = (ROOT / "docs/checkpoints.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| `(\w+)` \| (.+?) \| (.+?) \|", text, re.MULTILINE)
    found = {
        name: (file, [float(x) for x in re.findall(r"[\d.]+", fids)])
        for name, file, fids, _ in rows
    }
    for name, one in PRESETS.items():
        figures = [x for steps, row in one.rows.items() for x in (steps, row.fid)]
        assert found[name] == (one.checkpoint, figures)
