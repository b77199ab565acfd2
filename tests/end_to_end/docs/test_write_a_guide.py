"""The page "Write a guide": its examples are imported and sampled with, by name and without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent.guidance import parse_guidance
from diffdescent.guidance.elements import SOURCES
from tests.end_to_end.docs.pages import blocks, command, reading

PAGE, NAME = "write-a-guide.md", "bright"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with reading(PAGE, NAME, SOURCES, tmp_path):
        yield tmp_path


@pytest.fixture
def page(folder: Path) -> dict[str, Any]:
    """What the page's examples have made, run in order."""
    assert NAME not in SOURCES
    namespace: dict[str, Any] = {}
    for block in blocks(PAGE, "python")[1:]:
        exec(block, namespace)
    return namespace


def test_the_examples(page: dict[str, Any]) -> None:
    model, plain, guided = page["model"], page["plain"], page["bright_ones"]
    before, after = (r.images.mean((1, 2, 3)) for r in (plain, guided))
    assert ((after - 0.6).abs() < (before - 0.6).abs() - 0.1).all()
    assert guided.record.fingerprint == f"{plain.record.fingerprint}+bright(0.6)"
    assert guided.record.guidance == "bright(shift=score, interval=[0.0, 2.0], level=0.6)"
    assert torch.isfinite(page["again"].images).all()
    silent = dd.sample(model, "ddim", guidance="bright(scale=0)", steps=8, n=4)
    assert torch.equal(silent.images, plain.images)


def test_the_name_in_texts(page: dict[str, Any]) -> None:
    text = "bright(scale=2.0, level=-0.5)"
    assert str(parse_guidance(text)) == text
    with pytest.raises(dd.UserError, match=r"images lie in \[−1, 1\]"):
        parse_guidance("bright(level=2)")
    with pytest.raises(dd.UserError, match="'lvel'; did you mean 'level'"):
        parse_guidance("bright(lvel=0.2)")


def test_guides_without_a_name(page: dict[str, Any]) -> None:
    two, same = page["two"], page["same"]
    assert torch.equal(two.images, same.images)
    dark, light = two.images.mean((1, 2, 3))
    assert dark < -0.2
    assert light > 0.2
    assert two.record.fingerprint.endswith("+towards 1")
    assert torch.isfinite(page["dogs"].images).all()
    with pytest.raises(dd.UserError, match="no label 2"):
        dd.sample(page["guided"], "ddim", steps=2, n=1, labels=2)


@pytest.mark.slow
def test_the_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = blocks(PAGE, "bash")
    command(line.replace("bright-images", str(folder / "images")), folder)
    assert len(list((folder / "images").glob("[0-9]*.png"))) == 2
