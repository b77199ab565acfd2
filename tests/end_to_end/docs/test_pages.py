"""The Python of every page is executed, as one program; the commands of tutorials in their places.

What stands above a block as ``<!-- file: NAME -->`` is written to that file for those after it.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from diffdescent.apps.cli.app import main
from diffdescent.base.images import save_png
from tests.end_to_end.docs.test_blocks import ELSEWHERE, PAGES, blocks, commands

TUTORIALS = [page for page in PAGES if page.startswith("docs/tutorials/")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader would be, with photos.zip."""
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    with zipfile.ZipFile("photos.zip", "w") as archive:
        for i in range(6):
            pixels = torch.randint(0, 256, (3, 8, 8), generator=generator, dtype=torch.uint8)
            save_png(pixels, tmp_path / f"{i}.png")
            archive.write(tmp_path / f"{i}.png", f"{i}.png")
    return tmp_path


def run_command(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code, words


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "page",
    [
        page
        for page in PAGES
        if page not in ELSEWHERE and any(b.runs and b.language == "python" for b in blocks(page))
    ],
)
def test_python_of_a_page(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it in order, as one program; a tutorial's commands in their places."""
    namespace: dict[str, Any] = {}
    for block in blocks(page):
        if block.note.startswith("file: "):
            (folder / block.note.removeprefix("file: ")).write_text(block.code, encoding="utf-8")
        if not block.runs:
            continue
        if block.language == "python":
            exec(compile(block.code, page, "exec"), namespace)
        elif page in TUTORIALS:
            for words in commands(block):
                run_command(words, monkeypatch)
