"""Intersections of sets, by Dykstra's alternating projections (Boyle and Dykstra 1986)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .base import ConstraintSet

ROUNDS = 30
"""Rounds over all sets by default."""


class Intersection(ConstraintSet):
    """What all ``sets`` share.

    In each round every set projects what the one before it has left, and a convex set that is not
    affine takes back first what it has added in the round before: so the limit is the projection,
    where projections in turn alone (POCS) only end somewhere in the intersection. A set that is not
    convex only projects. After ``rounds`` rounds, always the same number, the last set holds
    exactly and the others as nearly as that has brought them.
    """

    def __init__(self, sets: Sequence[ConstraintSet], rounds: int = ROUNDS) -> None:
        self.sets, self.rounds = tuple(sets), rounds
        self.convex = all(s.convex for s in self.sets)
        self.affine = all(s.affine for s in self.sets)

    def project(self, x: Tensor) -> Tensor:
        if len(self.sets) == 1:
            return self.sets[0].project(x)
        added = [torch.zeros_like(x) if s.convex and not s.affine else None for s in self.sets]
        for _ in range(self.rounds):
            for i, one in enumerate(self.sets):
                x, added[i] = _turn(one, x, added[i])
        return x


def _turn(one: ConstraintSet, x: Tensor, added: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The set's projection, and what it has added to what it was given."""
    if added is None:
        return one.project(x), None
    given = x - added
    projected = one.project(given)
    return projected, projected - given
