"""The page "Write a transform": its example is imported, sampled with by its name, and held to the
contract of transforms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent.core.recipe import parse
from diffdescent.core.transforms import TRANSFORMS, Displacement, Estimate, Transform
from tests.contract import transforms as contract
from tests.end_to_end.docs.pages import blocks, command, reading
from tests.paths import DOCS
from tests.registry import learned, solvers

PAGE, NAME = "write-a-transform.md", "smooth"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with reading(PAGE, NAME, TRANSFORMS, tmp_path):
        yield tmp_path


def test_the_example_and_its_use(folder: Path) -> None:
    assert NAME not in TRANSFORMS
    namespace: dict[str, Any] = {}
    exec(blocks(PAGE, "python")[1], namespace)
    assert torch.isfinite(namespace["result"].images).all()
    assert str(parse("ddim | smooth(share=0.1)")) == "ddim | smooth(share=0.1)"
    with pytest.raises(dd.UserError, match=r"must lie in \[0, 1\), not 2; 0 changes nothing"):
        parse("smooth(share=2)")


def test_it_keeps_the_contract(folder: Path) -> None:
    import smooth  # type: ignore[import-not-found]

    neutral = smooth.Smooth(**smooth.Smooth.neutral)
    for case in solvers(lambda s: s == type(s)() and not learned(s)):
        assert contract.check_neutral(neutral, case.values[0])
    contract.check_refusals(smooth.Smooth)
    for share in (0.0, 0.2, 0.9):
        transform = smooth.Smooth(share)
        contract.check_batch_split(transform)
        contract.check_own_state(transform)
        contract.check_linear(transform)
        contract.check_pure(transform)
        contract.check_text(transform)


def test_the_page_names_every_ability() -> None:
    text = (DOCS / PAGE).read_text(encoding="utf-8")
    for base in (Transform, Estimate, Displacement):
        for name in (n for n, value in vars(base).items() if isinstance(value, property)):
            assert f"| `{name}` |" in text


@pytest.mark.slow
def test_the_commands(folder: Path) -> None:
    weights, suite = blocks(PAGE, "bash")
    assert "smooth" in command(weights, folder)
    assert "passed" in command(suite, folder)
