"""Numbers and values in sentences."""

from __future__ import annotations

import re
from collections.abc import Sequence

SHOWN = 200
"""A message shows at most so many characters of a value."""
_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{4,}")


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 image``, ``3 images``: a number with its noun, whose plural is ``many`` or has an s."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table as plain text, its columns to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (zip(row, widths, strict=True) for row in rows)
    return "\n".join("  ".join(cell.rjust(width) for cell, width in line) for line in lines)


def shown(value: object) -> str:
    """A value in a sentence: on one line, not endlessly long, and its type where it has no name of
    its own but an address."""
    text = " ".join(repr(value).split())
    if _ADDRESS.search(text):
        return f"a {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
