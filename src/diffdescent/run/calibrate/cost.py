"""What a calibration costs, stage by stage, and what it will have cost in the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diffdescent.run.pieces import Arrays, Pieces

from .subject import Subject

RECIPES_ON_GRIDS, SEARCHED_GRIDS = 45, 18
"""Fixed samplers of the first two rounds, roughly."""
LEVELS_TRIED = 8
"""Grids that the search tries, per level and to begin with, roughly; of those that begin as the
best one does, the share that is asked."""

JUDGED = 16
"""Held-out noises on which fixed samplers of more evaluations are compared with the fit."""
AHEAD = 4 * 2 * 132
"""Of these comparisons: four numbers of evaluations, twice as many on average, and so many images
at each."""

Progress = Callable[[int, int], None]


def expected(
    nfe: int,
    trajectories: int,
    held_out: int,
    levels: int,
    *,
    searched: int,
    rounds: int,
    columns: int,
) -> dict[str, int]:
    """The evaluations of one image that each stage will take, roughly: ``searched`` trajectories
    judge a grid (0: none is searched), and a round end to end asks for ``columns`` evaluations of
    each trajectory."""
    fixed = (RECIPES_ON_GRIDS * 6 + SEARCHED_GRIDS * 8 + 3 * trajectories) * nfe
    return {
        "teacher": (trajectories + held_out) * levels + 8 * levels,
        "fixed samplers": fixed,
        "levels": LEVELS_TRIED * (nfe + 1) * nfe * searched,
        "rows": nfe * trajectories,
        "end to end": rounds * (columns + 2 * nfe) * trajectories + (16 * levels if rounds else 0),
        "judging": nfe * (2 * held_out + JUDGED + AHEAD),
    }


def counted(
    pieces: Pieces,
    subject: Subject,
    kind: str,
    settings: Mapping[str, Any],
    make: Callable[[], Arrays],
) -> Arrays:
    """A piece with the evaluations that it took, which count when it is read as when it was made:
    an interrupted calibration has not become cheaper."""
    before = subject.calls

    def made() -> Arrays:
        arrays = make()
        return {**arrays, "calls": np.array(subject.calls - before)}

    found = pieces.get(kind, settings, made)
    if subject.calls == before:
        subject.count(int(found.get("calls", 0)))
    return found


@dataclass
class Cost:
    """Counts what each stage takes, in evaluations of one image and in seconds.

    ``progress`` is called with the evaluations so far and those expected in all.
    """

    subject: Subject
    expected: dict[str, int]
    progress: Progress | None = None
    evaluations: dict[str, int] = field(default_factory=dict, init=False)
    seconds: dict[str, float] = field(default_factory=dict, init=False)
    _since: float = field(init=False)

    def __post_init__(self) -> None:
        self._since = time.monotonic()
        if self.progress is not None:
            self.subject.progress = self._counted

    def on(self, stage: str) -> None:
        """All since the last call went into this stage."""
        now = time.monotonic()
        self.evaluations[stage] = self.subject.calls - sum(self.evaluations.values())
        self.seconds[stage] = round(now - self._since, 1)
        self._since = now
        if self.progress is not None:
            self._counted(self.subject.calls)

    def total(self, calls: int) -> int:
        """How many there will be: what the finished stages took and what the others will."""
        ahead = {s: n for s, n in self.expected.items() if s not in self.evaluations}
        current = calls - sum(self.evaluations.values())
        first = next(iter(ahead.values()), 0)
        return calls - current + max(current, first) + sum(ahead.values()) - first

    def _counted(self, calls: int) -> None:
        assert self.progress is not None
        self.progress(calls, self.total(calls))
