"""The three species of the training set, and figures with other counts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from diffdescent.base.errors import unknown


@dataclass(frozen=True)
class Species:
    """How many of each part a figure has. ``kind`` is the body plan that the parts are arranged
    on."""

    kind: str
    heads: int = 0
    arms: int = 0
    legs: int = 0
    fingers: int = 0

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """(heads, arms, legs, fingers)."""
        return self.heads, self.arms, self.legs, self.fingers


SPECIES: dict[str, Species] = {
    "person": Species("person", heads=1, arms=2, legs=2),
    "horse": Species("horse", heads=1, legs=4),
    "hand": Species("hand", fingers=5),
}
"""The species of the training set. Any other counts make a figure peculiar."""


def with_counts(
    name: str,
    *,
    heads: int | None = None,
    arms: int | None = None,
    legs: int | None = None,
    fingers: int | None = None,
) -> Species:
    """A species with other counts, such as ``with_counts("person", legs=3)``: a figure that is
    peculiar by design."""
    if name not in SPECIES:
        raise unknown("species", name, SPECIES)
    asked = {"heads": heads, "arms": arms, "legs": legs, "fingers": fingers}
    changed: dict[str, Any] = {part: number for part, number in asked.items() if number is not None}
    return dataclasses.replace(SPECIES[name], **changed)
