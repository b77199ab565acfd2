"""The notebooks under ``examples/`` run from top to bottom, and stay small."""

from __future__ import annotations

from pathlib import Path

import pytest
from tools.run_notebooks import execute

from tests.paths import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def test_there_are_four() -> None:
    names = {path.stem for path in NOTEBOOKS}
    assert names == {"quickstart", "which-sampler", "write-a-solver", "why-it-works"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    ran = execute(path, folder=tmp_path)
    code = [cell for cell in ran.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    assert any(cell.outputs for cell in code)
    assert path.stat().st_size < 200_000
