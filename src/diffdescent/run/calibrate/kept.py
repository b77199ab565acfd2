"""What searches found, kept next to the trajectories: an interrupted calibration goes on, and
others of the same trajectories need not search again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from diffdescent.core.recipe import parse, parse_grid
from diffdescent.run.pieces import Pieces

from .cost import counted
from .fixed import Rival
from .search import Places
from .subject import Subject


def kept_rival(
    pieces: Pieces,
    settings: Mapping[str, Any],
    subject: Subject,
    nfe: int,
    find: Callable[[], Rival],
) -> Rival:
    """The best fixed sampler of these settings, found or read."""

    def make() -> dict[str, Any]:
        found = find()
        return {
            "text": np.array([found.recipe, found.grid]),
            "numbers": np.array([found.distance, found.loss]),
        }

    kept = counted(pieces, subject, "opponent", settings, make)
    recipe, grid = map(str, kept["text"])
    plan = parse(recipe).plan(parse_grid(grid, subject.process, nfe))
    return Rival(recipe, grid, plan, *map(float, kept["numbers"]))


def kept_levels(
    pieces: Pieces, settings: Mapping[str, Any], subject: Subject, find: Callable[[], Places]
) -> Places:
    """The places of the levels of these settings, found or read."""
    kept = counted(pieces, subject, "levels", settings, lambda: {"places": np.array(find())})
    return tuple(map(int, kept["places"]))
