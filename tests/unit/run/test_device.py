"""A model that is given by name is loaded to the device that is asked for; ``meta`` stands for a
GPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent import UserError
from diffdescent.base import device
from diffdescent.core.model_info import info
from diffdescent.lab.conflicts import analysis
from diffdescent.models.adapt import as_model
from diffdescent.models.own import MODELS
from diffdescent.run import prepare
from diffdescent.run.gamma import measure_gamma
from diffdescent.run.spectrum import own_images
from tests.end_to_end.cli.command import run

IMAGES = torch.zeros(1, 3, 8, 8)


@pytest.fixture(autouse=True)
def anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every device is there, and the model ``where`` says on which one it is made."""

    def where(name: str) -> Any:
        raise UserError(f"made on {name}")

    monkeypatch.setattr(device, "_count", lambda kind: 1)
    monkeypatch.setitem(MODELS, "where", where)


@pytest.mark.parametrize(
    "ask",
    [
        lambda **given: as_model("where", **given),
        lambda **given: dd.sample("where", **given),
        lambda **given: dd.invert("where", IMAGES, **given),
        lambda **given: dd.restore("where", IMAGES, "blur(sigma=1)", **given),
        lambda **given: dd.compare("where", **given),
        lambda **given: analysis("where", **given),
        lambda **given: measure_gamma("where", **given),
        lambda **given: own_images("where", 1, **given),
    ],
)
def test_a_name_is_loaded_to_the_device(ask: Callable[..., Any]) -> None:
    with pytest.raises(UserError, match="made on meta"):
        ask(device="meta")
    with pytest.raises(UserError, match="made on cpu"):
        ask()


def test_the_network_is_where_the_noise_is() -> None:
    asked = prepare("mnist", steps=5, device="meta")
    assert str(asked.device) == str(info(asked.model).device) == "meta"
    here = dd.load_model("mnist")
    assert as_model(here, "meta") is here


@pytest.mark.parametrize("command", ["spectrum", "gamma"])
def test_commands_that_measure_take_a_device(command: str, tmp_path: Path) -> None:
    asked = [command, "where", "--out", tmp_path / "out.json", "--micro-batch", 2]
    assert "made on meta" in run(*asked, "--device", "meta", code=2).stderr


def test_a_measurement_in_other_micro_batches_is_the_same() -> None:
    one, other = (measure_gamma("mnist", n=3, times=2, micro_batch=width) for width in (1, 3))
    assert one.values == pytest.approx(other.values, abs=1e-5)
    with pytest.raises(UserError, match="micro_batch"):
        own_images("mnist", 1, micro_batch=0)
