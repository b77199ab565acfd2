"""Guidance: models that leave a gradient or a direction with their estimate. What is done where
these conflict are transforms, which have their names here too."""

from diffdescent.core.transforms.apg import APG
from diffdescent.core.transforms.projection import Conflicts, Delta
from diffdescent.core.transforms.pxp import PAPER, RELEASED, FreePxP, PxP
from diffdescent.core.transforms.rescale import Rescale

from .elements import Gradient, source
from .energy import Energy
from .guide import Guide
from .guided import Guided, Sight

# isort: split
# What a source's file imports from here stands above; other sources follow.
from .cfg import ClassifierFree, ClassifierFreePlus
from .classifier import Classifier
from .clip import CLIP
from .pretrained import load_guide
from .text import apply_guidance, parse_guidance

__all__ = [
    "APG",
    "CLIP",
    "PAPER",
    "RELEASED",
    "Classifier",
    "ClassifierFree",
    "ClassifierFreePlus",
    "Conflicts",
    "Delta",
    "Energy",
    "FreePxP",
    "Gradient",
    "Guide",
    "Guided",
    "PxP",
    "Rescale",
    "Sight",
    "apply_guidance",
    "load_guide",
    "parse_guidance",
    "source",
]
