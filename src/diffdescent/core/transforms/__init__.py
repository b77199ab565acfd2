"""Transforms: what is done to an estimate or to a step, over any solver that leaves room for it.
Importing the package registers them all."""

from .base import (
    TRANSFORMS,
    Commit,
    Displacement,
    Estimate,
    Evaluation,
    Rewrite,
    StepParts,
    Transform,
    register,
)

# isort: split
# What a transform's file imports from here stands above; the transforms follow.
from .apg import APG
from .constrain import Constrain, Constraining, Project
from .gradient_estimation import GradientEstimation
from .inpaint import Inpaint
from .momentum import Momentum
from .monitor import Monitor
from .pnm import PositiveNegative
from .pxp import FreePxP, PxP
from .rescale import Rescale
from .threshold import DynamicThreshold, Threshold

__all__ = [
    "APG",
    "TRANSFORMS",
    "Commit",
    "Constrain",
    "Constraining",
    "Displacement",
    "DynamicThreshold",
    "Estimate",
    "Evaluation",
    "FreePxP",
    "GradientEstimation",
    "Inpaint",
    "Momentum",
    "Monitor",
    "PositiveNegative",
    "Project",
    "PxP",
    "Rescale",
    "Rewrite",
    "StepParts",
    "Threshold",
    "Transform",
    "register",
]
