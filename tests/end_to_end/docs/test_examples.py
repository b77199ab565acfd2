"""Every example in the README and on the page of models runs, as it stands there."""

from __future__ import annotations

import re
import shlex
import sys
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from diffdescent.apps.cli.app import main
from diffdescent.base.images import save_png
from diffdescent.core.process import VP
from diffdescent.core.recipe import parse, parse_grid
from diffdescent.core.spectrum.fitted import FittedSolver
from diffdescent.run.calibrate.plain import as_rows
from tests.paths import ROOT

DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"(?<!-->\n)```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(r"^diffdescent .*$", README, re.MULTILINE)


def test_the_readme_has_examples() -> None:
    assert len(PYTHON) >= 2
    assert len(COMMANDS) >= 5


def test_python_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The same names as a reader would have; fewer images, so that the test is quick.
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"my_unet": lambda x, t: x}
    for block in PYTHON:
        exec(block.replace("n=4", "n=1"), namespace)
    assert torch.isfinite(namespace["images"]).all()
    assert (tmp_path / "dogs" / "run.json").is_file()


def test_the_adapters_page() -> None:
    namespace: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / "models.md").read_text(), re.DOTALL):
        exec(block, namespace)
        assert torch.isfinite(namespace["images"]).all()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("photos.zip", "w") as archive:
        for i in range(3):
            save_png(torch.randint(0, 256, (3, 8, 8), dtype=torch.uint8), tmp_path / f"{i}.png")
            archive.write(tmp_path / f"{i}.png", f"{i}.png")
    return tmp_path


def write_fitted(path: Path) -> None:
    """A calibrated sampler whose rows are those of a fixed one."""
    process = VP.named()
    plain = as_rows(parse("ge").plan(parse_grid("loglinear(end=zero)", process, 5)), 3)
    solver = FittedSolver(
        path.stem, plain.levels, plain.end, plain.axes, plain.bands, plain.start, plain.rows
    )
    path.parent.mkdir(exist_ok=True)
    path.write_text(solver.to_json())


@pytest.mark.filterwarnings("ignore:.*was fitted for")
@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = shlex.split(command)
    for file in re.findall(r"calibrated\('(.*?)'\)", command):  # of an earlier command
        write_fitted(folder / file)
    if words[1] == "sample":
        words += ["--n", "2"]
    if words[1] == "compare":
        words[2] = "cifar10-mixture"
        words += ["--n", "2", "--solution", "8"]
    if words[1] == "calibrate":  # a faster model and less of everything, so that the test is quick
        words[2] = "cifar10-mixture"
        words += ["--nfe", "3", "--trajectories", "8", "--held-out", "8", "--teacher", "16"]
        words += ["--bands", "3", "--end-to-end", "0"]
    if words[1] == "evaluate":  # the images of an earlier command
        Path(words[2]).mkdir()
        for i in range(3):
            (folder / f"{i}.png").rename(folder / words[2] / f"{i}.png")
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    written = [word for flag, word in pairwise(words) if flag in ("--out", "--plot")]
    assert all((folder / name).exists() for name in written)
