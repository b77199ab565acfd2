"""Constraint sets, each by its projection, and their intersections. Importing the package registers
them all."""

from .base import CONSTRAINTS, Constraint, ConstraintSet, register
from .intersection import Intersection
from .parse import bound_set, parse_constraints

# isort: split
# What a constraint's file imports from here stands above; the constraints follow.
from .geometry import SeamSet, Symmetry, SymmetrySet, Tiling
from .measured import Given, Measured, MeasuredSet
from .pixels import Box, BoxSet, Palette, PaletteSet
from .whole import Ball, BallSet, Histogram, HistogramSet, Mean, MeanSet

__all__ = [
    "CONSTRAINTS",
    "Ball",
    "BallSet",
    "Box",
    "BoxSet",
    "Constraint",
    "ConstraintSet",
    "Given",
    "Histogram",
    "HistogramSet",
    "Intersection",
    "Mean",
    "MeanSet",
    "Measured",
    "MeasuredSet",
    "Palette",
    "PaletteSet",
    "SeamSet",
    "Symmetry",
    "SymmetrySet",
    "Tiling",
    "bound_set",
    "parse_constraints",
    "register",
]
