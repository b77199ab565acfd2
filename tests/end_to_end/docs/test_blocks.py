"""Every block of code in the README and the documentation: Python is executed, commands are read by
the command line itself, and those of the tutorials are executed, too.

A block that cannot run says why in a comment above it: ``<!-- not run: REASON -->``. What stands
above a YAML block as ``<!-- file: NAME -->`` is written to that file for the blocks after it.
"""

from __future__ import annotations

import re
import shlex
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from diffdescent.apps.cli.app import main
from diffdescent.apps.cli.commands import program
from diffdescent.base.images import save_png
from tests.paths import DOCS, ROOT

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))
}
TUTORIALS = [page for page in PAGES if page.startswith("docs/tutorials/")]
ELSEWHERE = {
    "README.md": "tests/end_to_end/docs/test_examples.py",
    "docs/models.md": "tests/end_to_end/docs/test_examples.py",
    "docs/data.md": "tests/end_to_end/docs/test_data_page.py",
    **dict.fromkeys(
        ("docs/theory.md", "docs/explain.md", "docs/landscape.md"),
        "tests/end_to_end/docs/test_theory_pages.py",
    ),
    **{
        f"docs/write-a-{thing}.md": f"tests/end_to_end/docs/test_write_a_{thing}.py"
        for thing in ("solver", "grid", "transform", "guide", "metric")
    },
}
"""Pages whose Python has a test of its own, and where."""
BLOCK = re.compile(r"(?:^ *<!-- ([^\n]*) -->\n)?^( *)```(\w*)\n(.*?)^ *```$", re.M | re.S)


class Block(NamedTuple):
    note: str
    language: str
    code: str

    @property
    def runs(self) -> bool:
        return not self.note.startswith("not run: ")


def blocks(page: str) -> Iterator[Block]:
    for note, indent, language, code in BLOCK.findall(PAGES[page]):
        yield Block(note, language, re.sub(rf"^{indent}", "", code, flags=re.M))


def commands(block: Block) -> list[list[str]]:
    """The command lines of a block, as words."""
    text = block.code.replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("diffdescent ")]
    return [shlex.split(line, comments=True) for line in lines]


def test_reasons_are_given_and_languages_are_known() -> None:
    for page in PAGES:
        for block in blocks(page):
            assert block.note != "not run:", page
            assert block.language in ("", "python", "bash", "text", "yaml", "json"), page
            python = re.search(r"^(import|from) \w+|^(pipe|dd)\.", block.code, re.M)
            if not block.language and python:
                assert not block.runs, f"{page}: say python, or why it does not run: {block.code}"


@pytest.mark.parametrize("page", sorted(ELSEWHERE))
def test_a_page_with_a_test_of_its_own_is_named_there(page: str) -> None:
    assert Path(page).stem in (ROOT / ELSEWHERE[page]).read_text(encoding="utf-8")


READ = [
    pytest.param(words, id=f"{Path(page).name}: {' '.join(words[1:4])}")
    for page in PAGES
    for block in blocks(page)
    if block.runs
    for words in commands(block)
]


@pytest.mark.parametrize("words", READ)
def test_the_command_line_reads_a_command(words: list[str]) -> None:
    """Commands and options are there, with values of their types."""
    command, rest = program(), words[1:]
    if rest[0] == "--import":
        rest = rest[2:]
    name, parent = "diffdescent", None
    while True:
        context = command.make_context(name, list(rest), parent=parent, resilient_parsing=False)
        if not hasattr(command, "resolve_command"):
            return
        given = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, given)
        parent = context


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
        if page not in ELSEWHERE and any(b.language == "python" for b in blocks(page))
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
