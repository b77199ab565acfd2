"""Distances to the teacher's images, and whether one sampler is nearer than another."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

STUDENT95 = {
    2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 8: 2.365, 12: 2.201, 16: 2.131,
    24: 2.069, 32: 2.040, 48: 2.012, 64: 1.998, 128: 1.979,
}  # fmt: skip
"""Student's t at 97.5 % for samples of this size."""


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
        quantile = next((q for size, q in reversed(STUDENT95.items()) if n >= size), math.inf)
        half = quantile * float(values.std()) / math.sqrt(n) if n > 1 else math.inf
        return cls(mean, mean - half, mean + half)

    def entries(self) -> dict[str, float]:
        """The three numbers, six digits each."""
        return {k: float(f"{getattr(self, k):.6g}") for k in ("value", "low", "high")}


def nearer(one: Tensor, other: Tensor) -> tuple[Interval, bool]:
    """The paired difference of two samplers' distances on the same noises, and whether its interval
    says that ``one`` is nearer."""
    difference = Interval.of(one - other)
    return difference, difference.high < -ROUNDING * float(other.mean())
