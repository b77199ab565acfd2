"""``diffdescent convert`` from a checkpoint file to images."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from tests.end_to_end.cli.command import run
from tests.unit.models.convert.cases import settings, state


def test_from_a_checkpoint_to_images(tmp_path: Path) -> None:
    torch.save(state("ddpm_torch"), tmp_path / "w.pt")
    (tmp_path / "config.json").write_text(json.dumps(settings("ddpm_torch").to_json()))
    words = ["convert", str(tmp_path / "w.pt"), "--out", str(tmp_path / "model")]
    assert "family 'ddpm_torch'" in run(*words, code=2).stderr
    both = ("--config", tmp_path / "config.json", "--format", "ddim_cifar10")
    assert "give one" in run(*words, *both, code=2).stderr
    done = run(*words, "--config", tmp_path / "config.json", "--json")
    assert json.loads(done.stdout)["parameters"] == 774_531
    options = ("--n", 2, "--steps", 2, "--sampler", "ddim | threshold", "--quiet")
    run("sample", tmp_path / "model", *options, "--out", tmp_path / "images")
    assert (tmp_path / "images" / "000001.png").is_file()
