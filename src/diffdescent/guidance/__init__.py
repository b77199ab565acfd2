"""Guidance: models with a gradient or a direction beside their estimate, and what is done where these conflict."""

from .analysis import conflicts
from .cfg import ClassifierFree, ClassifierFreePlus
from .classifier import Classifier, Guide, Guided
from .clip import CLIP
from .conflict_table import ConflictTable
from .energy import Energy
from .pretrained import load_guide
from .projection import Conflicts, Delta
from .pxp import PAPER, RELEASED, FreePxP, PxP
from .rivals import APG, Rescale
from .text import apply_guidance, parse_guidance

__all__ = [
    "APG",
    "CLIP",
    "PAPER",
    "RELEASED",
    "Classifier",
    "ClassifierFree",
    "ClassifierFreePlus",
    "ConflictTable",
    "Conflicts",
    "Delta",
    "Energy",
    "FreePxP",
    "Guide",
    "Guided",
    "PxP",
    "Rescale",
    "apply_guidance",
    "conflicts",
    "load_guide",
    "parse_guidance",
]
