"""The transforms that a recipe's text can name."""

from __future__ import annotations

from typing import Any

from diffdescent.core.transforms import (
    DynamicThreshold,
    GradientEstimation,
    Momentum,
    PositiveNegative,
    Threshold,
)
from diffdescent.core.transforms.pxp import PxP

TRANSFORMS: dict[str, type[Any]] = {
    cls.name: cls
    for cls in (GradientEstimation, Momentum, PositiveNegative, Threshold, DynamicThreshold, PxP)
}
