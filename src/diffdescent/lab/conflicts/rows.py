"""One pair of gradients at one step: its figures over samples, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

import numpy as np
import numpy.typing as npt

from diffdescent.base.statistics import Estimate, mean_of, wilson
from diffdescent.core.transforms.projection import Pair

Array = npt.NDArray[np.float64]
PAIRS: tuple[Pair, ...] = get_args(Pair)
VECTORS = ("cls", "den", "div")
NEGATIVE = -1e-6
"""After a projection a cosine counts as negative below this: what rounding leaves of a zero does
not."""


NOTHING = Estimate(math.nan, n=0)
"""Where no sample has a value."""


def mean(values: Array) -> Estimate:
    """The mean over the values that are not NaN, with its interval (none for a single value)."""
    kept = values[~np.isnan(values)]
    if len(kept) > 1:
        return mean_of(kept)
    return Estimate(float(kept[0]), n=1) if len(kept) else NOTHING


def share(flags: Array) -> Estimate:
    """The share of ones among the zeros and ones that are not NaN, with Wilson's interval."""
    kept = flags[~np.isnan(flags)]
    return wilson(int(kept.sum()), len(kept)) if len(kept) else NOTHING


@dataclass(frozen=True)
class ConflictRow:
    """One pair (a, b) at one step, which begins at time ``t`` and σ/α = ``ratio``; step −1 is the
    mean over steps."""

    step: int
    t: float
    ratio: float
    pair: Pair
    figures: Mapping[str, Estimate]
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
