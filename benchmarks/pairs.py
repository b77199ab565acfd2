"""Two timings taken in turn: medians and the ratio of the medians, each with a 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HEAD = (
    *("ours", "ours_low", "ours_high", "theirs", "theirs_low", "theirs_high"),
    *("value", "low", "high", "n"),
)
"""The columns of :func:`compared`; ``value`` is ours over theirs."""


def compared(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Medians in µs of what is given in seconds, and their ratio, with bootstrap intervals; pairs
    are drawn together."""
    pairs = np.array([ours, theirs]) * 1e6
    drawn = np.random.default_rng(0).integers(pairs.shape[1], size=(1000, pairs.shape[1]))
    medians, again = np.median(pairs, axis=1), np.median(pairs[:, drawn], axis=2)
    found = [
        (middle, *np.quantile(draws, (0.025, 0.975)))
        for middle, draws in zip(
            (*medians, medians[0] / medians[1]), (*again, again[0] / again[1]), strict=True
        )
    ]
    values = [float(value) for three in found for value in three]
    return dict(zip(HEAD, (*values, len(ours)), strict=True))
