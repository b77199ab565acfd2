"""Transforms: what is done to an estimate or to a step, over any solver that leaves room for it."""

from .base import Commit, Displacement, Estimate, Evaluation, Rewrite, StepParts, Transform
from .gradient_estimation import GradientEstimation
from .momentum import Momentum, PositiveNegative
from .threshold import DynamicThreshold, Monitor, Threshold

__all__ = [
    "Commit",
    "Displacement",
    "DynamicThreshold",
    "Estimate",
    "Evaluation",
    "GradientEstimation",
    "Momentum",
    "Monitor",
    "PositiveNegative",
    "Rewrite",
    "StepParts",
    "Threshold",
    "Transform",
]
