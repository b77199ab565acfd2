"""``--labels``, which every command takes under that name and as ``--label``, with the same
values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import diffdescent as dd

from .command import run

QUICK = ["cifar10-mixture", "--steps", 2, "--n", 2, "--quiet", "--sampler", "ddim"]


@pytest.mark.parametrize(
    "command", ["sample", "restore", "compare", "conflicts", "landscape", "theory error"]
)
def test_every_command_shows_both_names(command: str) -> None:
    help_of = " ".join(run(*command.split(), "--help").stdout.split())
    assert "--labels" in help_of.replace(",--label", "")
    assert "--label" in help_of.replace("--labels", "")


@pytest.mark.parametrize(
    ("text", "labels"), [("dog", 5), ("3,dog", [3, 5]), ("cycle", [0, 1]), ("none", None)]
)
def test_both_names_are_one_option(text: str, labels: Any, tmp_path: Path) -> None:
    found = []
    for name in ("--labels", "--label"):
        out = tmp_path / name
        run("sample", *QUICK, name, text, "--out", out)
        record = json.loads((out / "run.json").read_text())
        found.append(record["labels"])
    assert found == [labels, labels]
    made = dd.sample("cifar10-mixture", "ddim", steps=2, n=2, labels=text)
    assert made.record.entries()["labels"] == labels


def test_one_label_of_all_trajectories(tmp_path: Path) -> None:
    asked = ["landscape", "cifar10-mixture", "--out", tmp_path]
    said = run(*asked, "--labels", "cycle", code=2).stderr
    assert "give one as --labels, not 'cycle'" in said


def test_conflicts_without_labels_have_none(tmp_path: Path) -> None:
    guided = ["cifar10-mixture", "--guidance", "cfg(scale=2)", "--steps", 2, "--n", 2, "--quiet"]
    run("conflicts", *guided, "--labels", "none", "--out", tmp_path)
    assert json.loads((tmp_path / "analysis.json").read_text())["labels"] == [-1]


def test_a_restoration_without_labels(tmp_path: Path) -> None:
    images = dd.sample("cifar10-mixture", "ddim", steps=2, n=1).images
    plain, none, dog = (
        dd.restore("cifar10-mixture", images, "blur(sigma=1)", nfe=2, labels=labels).images
        for labels in (None, "none", "dog")
    )
    assert (plain == none).all()
    assert (plain != dog).any()
