"""Transforms: what is done to an estimate or to a step, over any solver that leaves room for it."""

from .base import Commit, Displacement, Estimate, Evaluation, Rewrite, Transform
from .gradient_estimation import GradientEstimation
from .momentum import Momentum, PositiveNegative

__all__ = [
    "Commit",
    "Displacement",
    "Estimate",
    "Evaluation",
    "GradientEstimation",
    "Momentum",
    "PositiveNegative",
    "Rewrite",
    "Transform",
]
