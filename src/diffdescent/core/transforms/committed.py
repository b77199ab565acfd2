"""Writes down the states that a run commits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from diffdescent.core.plan import Plan
from diffdescent.core.process import Point

from .base import Commit, Displacement


@dataclass
class Committed(Displacement):
    """The last displacement of a chain: it keeps each committed state and its level, and changes
    nothing. One answer of the network can commit two states, as where a corrected step is followed
    by one to σ = 0."""

    states: list[Tensor] = field(default_factory=list)
    points: list[Point] = field(default_factory=list)
    name: ClassVar[str] = "committed"
    linear: ClassVar[bool] = True

    def init(self, plan: Plan) -> None:
        return None

    def update(self, state: None, commit: Commit) -> tuple[Tensor, None]:
        self.states.append(commit.proposal)
        self.points.append(commit.dst)
        return commit.proposal, None
