"""Text from outside within Markdown: shown as it is, neither markup nor the end of a table or of a
block of code."""

from __future__ import annotations

import re

_MARKS = re.compile(r"([\\`<>\[\]|])")


def plain(text: str) -> str:
    """A text on one line, whose brackets, bars and backticks mean nothing."""
    return _MARKS.sub(r"\\\1", " ".join(text.split()))


def prose(text: str) -> str:
    """Paragraphs, which may have markup of their own, but no HTML."""
    return text.strip().replace("<", "&lt;")


def cell(text: str) -> str:
    """A cell of a table, which may have markup of its own: on one line, without bars and tags."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def code(text: str) -> str:
    """A text within backticks: on one line, without any of its own."""
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"


def block(text: str) -> str:
    """Lines of code, fenced by more backticks than they have."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"
