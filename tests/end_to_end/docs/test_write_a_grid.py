"""The page "Write a grid": its example is imported, sampled with by its name, and held to the suite
of grids."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import diffdescent as dd
from diffdescent.core.grid import GRIDS, make_grid
from tests.end_to_end.docs.pages import blocks, command, reading
from tests.sub_vp import SubVP

PAGE, NAME = "write-a-grid.md", "kl_optimal"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with reading(PAGE, NAME, GRIDS, tmp_path):
        yield tmp_path


def test_the_example_and_its_use(folder: Path) -> None:
    assert NAME not in GRIDS
    namespace: dict[str, Any] = {}
    exec(blocks(PAGE, "python")[1], namespace)
    assert torch.isfinite(namespace["result"].images).all()
    grid = make_grid(NAME, dd.VE(), 5)
    np.testing.assert_allclose(grid.ratio[[0, 4, 5]], [80, 0.002, 0], rtol=1e-12)
    steps = np.diff(np.arctan(grid.ratio[:-1]))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-12)
    for process in (dd.VP.named(), dd.Flow(t_max=0.99), SubVP()):
        assert np.all(np.diff(make_grid(NAME, process, 9).ratio) < 0)
    with pytest.raises(dd.UserError, match="start"):
        dd.grid(f"{NAME}(begin=3)", dd.VE(), 5)


@pytest.mark.slow
def test_the_commands(folder: Path) -> None:
    line, suite = blocks(PAGE, "bash")
    assert NAME in command(line, folder)
    assert "7 passed" in command(suite, folder)
