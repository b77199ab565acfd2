"""One pair of gradients at one step: its figures over samples, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from diffdescent.base.statistics import Z95, wilson
from diffdescent.core.transforms.projection import Pair

Array = npt.NDArray[np.float64]
PAIRS: tuple[Pair, ...] = get_args(Pair)
VECTORS = ("cls", "den", "div")
NEGATIVE = -1e-6
"""After a projection a cosine counts as negative below this: what rounding leaves of a zero does
not."""


@dataclass(frozen=True)
class Estimated:
    """A figure over ``n`` samples and its 95 % interval; NaN where no sample has one."""

    value: float
    low: float
    high: float
    n: int


NOTHING = Estimated(math.nan, math.nan, math.nan, 0)


def mean(values: Array) -> Estimated:
    """The mean over the values that are no NaN, with ±1.96 standard errors (NaN for a single
    value)."""
    return _estimated(values, _normal)


def share(flags: Array) -> Estimated:
    """The share of ones among the zeros and ones that are no NaN, with Wilson's interval."""
    return _estimated(flags, lambda share, kept: wilson(share, len(kept)))


def _estimated(values: Array, interval: Callable[[float, Array], tuple[float, float]]) -> Estimated:
    values = values[~np.isnan(values)]
    if not len(values):
        return NOTHING
    centre = float(values.mean())
    return Estimated(centre, *interval(centre, values), len(values))


def _normal(centre: float, values: Array) -> tuple[float, float]:
    n = len(values)
    half = Z95 * float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else math.nan
    return centre - half, centre + half


@dataclass(frozen=True)
class ConflictRow:
    """One pair (a, b) at one step, which begins at time ``t`` and σ/α = ``ratio``; step −1 is the
    mean over steps."""

    step: int
    t: float
    ratio: float
    pair: Pair
    figures: Mapping[str, Estimated]
    """``direction``, ``magnitude``, ``cosine``, ``norm_a``, ``norm_b``, ``negative_after``,
    ``both_negative_after``."""


SHARES = ("direction", "negative_after", "both_negative_after")
FIGURES = (
    "direction",
    "magnitude",
    "cosine",
    "norm_a",
    "norm_b",
    "negative_after",
    "both_negative_after",
)
