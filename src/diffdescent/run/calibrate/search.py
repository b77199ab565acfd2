"""Where the network is asked: a search over the teacher's levels, each candidate judged by the
cheap local fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from .answers import Answers
from .local import fit_rows
from .loss import DISTANCE, Loss
from .shape import Shape
from .subject import Subject
from .teacher import Trajectories

FIRSTS = (80.0, 40.0, 20.0, 12.0)
LASTS = (0.4, 0.2, 0.1)
GAIN = 0.002
"""A candidate must be nearer by this share; less is noise."""
HELD = 8
"""Answers of the network that are held for each evaluation; together less than the teacher's."""

Places = tuple[int, ...]


def search_levels(
    subject: Subject,
    data: Trajectories,
    nfe: int,
    shape: Shape,
    others: Sequence[Sequence[float]],
    note: Callable[[str], None],
    loss: Loss = DISTANCE,
) -> Places:
    """The places of the levels among the teacher's: the best even spacing in log σ/α, or the best
    of the ``others``, then one level at a time, in steps that are halved.

    A candidate that begins as one of the last ones did asks only for what follows.
    """
    known: dict[Places, float] = {}
    answers = Answers(HELD * nfe)

    def judge(places: Places) -> float:
        if places not in known:
            fit = fit_rows(subject, data, places, shape, answers)
            known[places] = loss.mean(fit.images, data.end)
        return known[places]

    levels = data.levels[:-1]
    starts = {nearest(levels, ratios) for ratios in others}
    for first in FIRSTS:
        for last in LASTS:
            ends = min(first, levels[0]), max(last, levels[-1])
            starts.add(nearest(levels, np.geomspace(*ends, nfe).tolist()))
    best = min((p for p in sorted(starts) if _falls(p)), key=judge)
    note(f"{len(known)} grids tried, the best begins at σ/α = {levels[best[0]]:.3g}")
    stride = max(1, len(levels) // 16)
    while stride:
        moved = _sweep(best, stride, len(levels), judge)
        if moved == best:
            stride //= 2
        best = moved
    note(f"{len(known)} grids tried: {', '.join(f'{levels[i]:.3g}' for i in best)}")
    return best


def nearest(levels: Sequence[float], ratios: Sequence[float]) -> Places:
    """The places of the levels that are nearest to ``ratios`` in log σ/α."""
    logs = np.log(np.asarray(levels))
    return tuple(int(np.abs(logs - math.log(r)).argmin()) for r in ratios)


def _falls(places: Places) -> bool:
    return all(a < b for a, b in pairwise(places))


def _sweep(best: Places, stride: int, count: int, judge: Callable[[Places], float]) -> Places:
    """One pass over the levels, each moved as long as that helps."""
    for n in range(len(best)):
        for step in (-stride, stride):
            while True:
                moved = (*best[:n], best[n] + step, *best[n + 1 :])
                inside = 0 <= moved[n] < count
                if not inside or not _falls(moved) or judge(moved) > judge(best) * (1 - GAIN):
                    break
                best = moved
    return best
