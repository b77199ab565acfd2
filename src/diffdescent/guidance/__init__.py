"""Guidance: models with a gradient or a direction beside their estimate, and what is done where these conflict."""

from .cfg import ClassifierFree
from .classifier import Classifier, Guide, Guided
from .projection import Conflicts, Delta
from .pxp import PAPER, RELEASED, FreePxP, PxP

__all__ = [
    "PAPER",
    "RELEASED",
    "Classifier",
    "ClassifierFree",
    "Conflicts",
    "Delta",
    "FreePxP",
    "Guide",
    "Guided",
    "PxP",
]
