"""Command lines to copy."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

_SPECIAL = frozenset('"$`\\!')
"""What a shell reads within double quotes."""


def command_line(words: Iterable[object]) -> str:
    """The words as a POSIX shell reads them; one with single quotes, as the file of a recipe has
    them, stands in double quotes where it can."""
    return " ".join(map(_quoted, map(str, words)))


def _quoted(word: str) -> str:
    return f'"{word}"' if "'" in word and not _SPECIAL & set(word) else shlex.quote(word)
