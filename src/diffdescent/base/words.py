"""Numbers in sentences."""

from __future__ import annotations


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 image``, ``3 images``: a number with its noun, whose plural is ``many`` or has an s."""
    return f"{number} {one if number == 1 else many or one + 's'}"
