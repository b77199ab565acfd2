"""Command lines to copy."""

from __future__ import annotations

import shlex

import pytest

from diffdescent.base.shell import command_line


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("ge", "ge"),
        ("ddim | momentum(-0.3)", "'ddim | momentum(-0.3)'"),
        ("calibrated('a b.json')", "\"calibrated('a b.json')\""),
        ("calibrated('$HOME.json')", "'calibrated('\"'\"'$HOME.json'\"'\"')'"),
        (5, "5"),
    ],
)
def test_a_shell_reads_the_words_again(word: object, written: str) -> None:
    line = command_line(["sample", word])
    assert line == f"sample {written}"
    assert shlex.split(line) == ["sample", str(word)]
