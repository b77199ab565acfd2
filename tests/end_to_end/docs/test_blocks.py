"""Every block of code in the README and the documentation: its language is known, and the command
line itself reads its commands.

A block that cannot run says why in a comment above it: ``<!-- not run: REASON -->``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from diffdescent.apps.cli.commands import program
from tests.paths import DOCS, ROOT

PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md")))
}
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
