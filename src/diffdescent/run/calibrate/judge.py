"""Distances to the teacher's images, and whether one sampler is nearer than another."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from diffdescent.base.statistics import student95

ROUNDING = 1e-3
"""A gain of less than this share of the distance is nothing but arithmetic."""


def distances(images: Tensor, exact: Tensor) -> Tensor:
    """The root mean square distance of each image to its exact one, (n,), float64 on the CPU."""
    return (images - exact).double().square().flatten(1).mean(1).sqrt().cpu()


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Tensor) -> Interval:
        """The mean of independent values and Student's interval."""
        n, mean = len(values), float(values.mean())
        half = student95(n - 1) * float(values.std()) / math.sqrt(n) if n > 1 else math.inf
        return cls(mean, mean - half, mean + half)

    def entries(self) -> dict[str, float]:
        """The three numbers, six digits each."""
        return {k: float(f"{getattr(self, k):.6g}") for k in ("value", "low", "high")}


def nearer(one: Tensor, other: Tensor) -> tuple[Interval, bool]:
    """The paired difference of two samplers' distances on the same noises, and whether its interval
    says that ``one`` is nearer."""
    difference = Interval.of(one - other)
    return difference, difference.high < -ROUNDING * float(other.mean())
