"""Confidence intervals by half-sampling: how a statistic of n images varies, as random halves of
them show.

A half drawn without replacement varies around the whole by Var(half | data) = (1/(n/2) − 1/n)·s² =
s²/n, to first order exactly as the whole varies around the truth. So the spread of a statistic over
halves is its sampling spread, and nothing is to be scaled (delete-half jackknife, Shao and Wu
1989). Unlike the bootstrap no image occurs twice, which would break nearest-neighbour metrics.

A statistic with a bias of c/n is off by a further c/n on a half. The interval, ±Z95 standard
deviations of the halves, is therefore put around the value and not around the halves: it is one for
the expectation *at this number of images*, and the difference between the halves' mean and the
value estimates the bias. (Quantiles of the halves would be too narrow where a half of few images
can only take few values, as precision does.)

The halves of n items are the same for every statistic and every set of n, so the deviations of two
statistics over them vary together as the statistics do: the spread of their difference is that of
the difference, whatever their correlation. Sets of images from the same noise can be told apart by
far fewer images in this way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.statistics import Z95, Estimate
from diffdescent.core.noise import integers

_STEP = 0x7FFF0001
"""Keys the draws of halves; no step of a sampler has this number, so that they share nothing with
the images' noise."""

_AT_ONCE = 1 << 20
"""Random numbers in memory at a time."""

LEAST = 8
"""Fewer images than this have no interval."""


@dataclass(frozen=True)
class HalfSampled(Estimate):
    """A value with the 95 % interval that random halves give it.

    ``bias`` estimates how much the expectation of the value at this number of images exceeds the
    one at infinitely many, ``draws`` (resamples,) say how the value varies (:func:`deviations`).
    """

    bias: float = field(kw_only=True)
    draws: Tensor = field(kw_only=True, compare=False, repr=False)


def check_resamples(resamples: int) -> None:
    """Refuse a number of halves that has no spread. Raises :class:`UserError`."""
    if resamples < 0 or resamples == 1:
        raise UserError(
            f"Intervals need at least 2 random halves, or 0 for none (resamples), not {resamples}."
        )


def halves(n: int, resamples: int, seed: int) -> Tensor:
    """``resamples`` random halves of n items: bool (resamples, n), n // 2 true in each row, keyed
    by (seed, row)."""
    chosen = torch.zeros(resamples, n, dtype=torch.bool)
    for rows in torch.split(torch.arange(resamples), max(1, _AT_ONCE // n)):
        first = integers(seed, rows, n, _STEP).argsort(dim=1, stable=True)[:, : n // 2]
        chosen[rows[:, None], first] = True
    return chosen


def deviations(over_halves: Tensor, n: int) -> Tensor:
    """How a statistic of n items varies around its expectation, (resamples,), by what it is on
    their halves."""
    values = over_halves.double()
    # An odd n has halves that are a little smaller than half.
    smaller: float = ((n // 2) / (n - n // 2)) ** 0.5
    return (values - values.mean()) * smaller


def half_width(draws: Tensor) -> float:
    """Half the width of a 95 % interval of a value, or of a sum or difference of values with summed
    draws."""
    return Z95 * float(draws.std())


def interval(
    value: float, over_halves: Tensor, n: int, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> HalfSampled:
    """``value`` with its 95 % interval, cut to ``bounds``, by what it is on the halves of its n
    items (resamples,)."""
    draws = deviations(over_halves, n)
    half = half_width(draws)
    return HalfSampled(
        value,
        max(value - half, bounds[0]),
        min(value + half, bounds[1]),
        n=n,
        bias=float(over_halves.double().mean()) - value,
        draws=draws,
    )
