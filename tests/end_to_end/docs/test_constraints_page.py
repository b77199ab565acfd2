"""The page on constraints: its examples and commands run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.projected import judged

import diffdescent as dd
from diffdescent.core.constraints import CONSTRAINTS
from diffdescent.core.operators import OPERATORS
from tests.end_to_end.cli.command import run
from tests.end_to_end.docs.pages import blocks
from tests.paths import DOCS

PAGE = "constraints.md"


def ran(examples: list[str]) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    for code in examples:
        exec(code, namespace)
    return namespace


def test_constraints_and_operators_in_python() -> None:
    short = (b.replace("steps=12", "steps=3") for b in blocks(PAGE, "python"))
    recipes, own, operators, *_ = (b.replace("n=2)", "n=2, steps=3)") for b in short)
    after = ran([recipes])
    mean = torch.tensor([0.2, 0.0, -0.2]).expand(4, 3)
    assert torch.allclose(after["images"].mean((2, 3)), mean, atol=1e-5)
    after = ran([recipes, own, operators])
    assert after["images"][..., :16].min() > -1e-5


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = blocks(PAGE, "bash")[0].replace("--n 16", "--n 2").replace("--steps 20", "--steps 3")
    quoted = re.search(r'"(.*)"', line)
    assert quoted is not None
    words = line.replace(quoted[0], "RECIPE").split()[1:]
    run(*(quoted[1] if word == "RECIPE" else word for word in words))
    assert (tmp_path / "mirrored" / "000001.png").exists()


def test_every_name_is_on_the_page() -> None:
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    missing = [n for n in (*CONSTRAINTS, *OPERATORS) if not re.search(rf"`{n}\b", text)]
    assert not missing
    recipes = re.findall(r"^(constrain\(.*?\)\"\))", text, re.MULTILINE)
    assert len(recipes) == 4
    for recipe in recipes:
        dd.sampler(f"ddim | {recipe}")


@pytest.mark.slow
def test_the_truth() -> None:
    after = ran(blocks(PAGE, "python"))
    assert after["found"]["coverage90"].value == pytest.approx(0.9, abs=0.05)
    assert after["found"]["residual"].value == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_the_first_row_of_the_table_of_projections() -> None:
    _, _, found = next(judged(8, 20))
    assert found["coverage50"].value == pytest.approx(0.4267, abs=0.02)
    assert found["residual"].value == pytest.approx(1, abs=1e-4)
