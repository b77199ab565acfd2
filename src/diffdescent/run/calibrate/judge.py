"""Distances to the teacher's images, and whether one sampler is nearer than another."""

from __future__ import annotations

import math

from torch import Tensor

from diffdescent.base.statistics import Estimate, student_mean

ROUNDING = 1e-3
"""A gain of less than this share of the distance is nothing but arithmetic."""


def distances(images: Tensor, exact: Tensor) -> Tensor:
    """The root mean square distance of each image to its exact one, (n,), float64 on the CPU."""
    return (images - exact).double().square().flatten(1).mean(1).sqrt().cpu()


def mean_of(values: Tensor) -> Estimate:
    """The mean of independent values and Student's interval."""
    return student_mean(values.numpy())


def entries(found: Estimate) -> dict[str, float | None]:
    """An estimate as it stands in a file: three numbers, six digits each; None for one that is not
    finite, which JSON cannot write."""
    numbers = ((key, getattr(found, key)) for key in ("value", "low", "high"))
    return {key: float(f"{x:.6g}") if math.isfinite(x) else None for key, x in numbers}


def nearer(one: Tensor, other: Tensor) -> tuple[Estimate, bool]:
    """The paired difference of two samplers' distances on the same noises, and whether its interval
    says that ``one`` is nearer."""
    difference = mean_of(one - other)
    return difference, difference.high < -ROUNDING * float(other.mean())
