"""The grid at quantiles of a beta distribution."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np

from diffdescent.core.options import In
from diffdescent.core.process import Array, Process

from .base import End, Grid, register
from .build import from_times


def _betainc(a: float, b: float, x: Array) -> Array:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF
    8.17.22)."""
    flip = x > (a + 1) / (a + b + 2)
    p, q, z = np.where(flip, b, a), np.where(flip, a, b), np.where(flip, 1 - x, x)
    fraction = np.zeros_like(z)
    for m in range(60, 0, -1):
        even = m * (q - m) * z / ((p + 2 * m - 1) * (p + 2 * m))
        odd = -(p + m) * (p + q + m) * z / ((p + 2 * m) * (p + 2 * m + 1))
        fraction = even / (1 + odd / (1 + fraction))
    first = -(p + q) * z / (p + 1)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    with np.errstate(divide="ignore"):
        value = (
            np.exp(log_front + p * np.log(z) + q * np.log1p(-z)) / p / (1 + first / (1 + fraction))
        )
    return np.asarray(np.where(flip, 1 - value, value))


@register("beta")
def beta(
    process: Process,
    steps: int,
    *,
    a: Annotated[float, In(0, ends="()")] = 0.6,
    b: Annotated[float, In(0, ends="()")] = 0.6,
    snap: bool = True,
    end: End = "zero",
) -> Grid:
    """Times at quantiles 1 − i/N of a Beta(a, b) distribution (the "beta" scheduler; arXiv
    2407.12173).

    Args:
        process: which noise levels there are.
        steps: N, the steps of the grid.
        a: the distribution's first parameter, > 0; small ones crowd the clean end.
        b: its second parameter, > 0; small ones crowd the noisy end.
        snap: whether levels move to trained times.
        end: where it ends: "zero" (σ = 0), "first" (the lowest trained level), or a σ̃.

    Returns:
        The grid, in float64 on the CPU.
    """
    target = 1 - np.arange(steps) / steps
    low, high = np.zeros(steps), np.ones(steps)
    for _ in range(60):
        middle = (low + high) / 2
        below = _betainc(a, b, middle) < target
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    quantile = np.where(target == 1, 1.0, (low + high) / 2)
    times = process.t_min + (process.t_max - process.t_min) * quantile
    return from_times(process, process.snapped(times) if snap else times, end, "beta")
