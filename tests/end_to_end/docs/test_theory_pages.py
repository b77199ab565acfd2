"""Every command and example on the pages of theory, explain and landscape runs, as it stands there
but smaller."""

from __future__ import annotations

import re
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from diffdescent.base.images import save_png
from tests.end_to_end.cli.command import run
from tests.paths import ROOT

DOCS = ROOT / "docs"
PAGES = ("theory", "explain", "landscape")
SMALLER = {
    "ideal": ("--steps", 3, "--n", 2),
    "error": ("--steps", 3, "--n", 2),
    "lowrank": ("--size", 6, "--steps", 3, "--n", 4),
    "set": ("--sample", 6, "--tangents", 2),
    "landscape": ("--steps", 2, "--around", 2, "--reference-steps", 3, "--counts", "2,3"),
}


def text_of(page: str) -> str:
    return (DOCS / f"{page}.md").read_text()


def commands() -> list[str]:
    """The command lines of the code blocks, with continued lines joined and comments left out."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^```\n(.*?)^```", text_of(page), re.DOTALL | re.MULTILINE):
            lines = block.replace("\\\n", " ").splitlines()
            found += [
                line.split("   #")[0].strip() for line in lines if line.startswith("diffdescent ")
            ]
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small sets under the names on the pages."""
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    (tmp_path / "photos").mkdir()
    with zipfile.ZipFile("cifar10-train.zip", "w") as archive:
        for i in range(12):
            path = tmp_path / "photos" / f"{i}.png"
            save_png(torch.randint(0, 256, (3, 8, 8), generator=generator, dtype=torch.uint8), path)
            archive.write(path, f"{i}.png")
    digits = torch.randint(0, 256, (12, 28, 28, 1), generator=generator, dtype=torch.uint8)
    np.savez("mnist-train.npz", arr_0=digits.numpy(), arr_1=np.arange(12) % 10)
    return tmp_path


def test_the_pages_have_commands_for_every_subcommand() -> None:
    words = " ".join(commands())
    for name in (
        "theory ideal",
        "theory error",
        "theory schedule",
        "theory lowrank",
        "theory set",
        "theory distance",
        "explain",
        "landscape",
    ):
        assert f"diffdescent {name} " in words + " ", name


@pytest.mark.parametrize("command", commands())
def test_commands(command: str, folder: Path) -> None:
    words = shlex.split(command)[1:]
    name = words[1] if words[0] == "theory" else words[0]
    before = set(folder.rglob("*"))
    done = run(*words, *SMALLER.get(name, ()))
    assert done.stdout.strip()
    for flag in ("--out", "--plot"):
        if flag in words:
            assert (folder / words[words.index(flag) + 1]).exists()
    if name not in ("distance",) and not (name in ("explain", "schedule") and "--out" not in words):
        made = [p for p in set(folder.rglob("*")) - before if p.is_file()]
        assert any(p.suffix == ".png" for p in made)
        assert any(p.suffix == ".json" for p in made)


@pytest.mark.parametrize("page", PAGES)
def test_examples_in_python(page: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", text_of(page), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("page", PAGES)
def test_pictures_and_links_are_there(page: str) -> None:
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text_of(page))
    assert len(pictures) >= 2
    for target in [*pictures, *re.findall(r"(?<!!)\[[^\]]+\]\((?!http)([^)#]+)", text_of(page))]:
        assert (DOCS / target).is_file(), target
