"""Denoising as approximate projection, measured: distances, the error model, admissible
schedules."""

from diffdescent.core.grid.admissible import greatest_factor, least_steps, statement

from .adversary import Adversary
from .error_model import ErrorModel, measure
from .estimate import least_squares_gamma
from .intrinsic import levina_bickel, manifold_reach, two_nn
from .neighbours import neighbour_distances
from .schedules import check, distance_bounds, greatest_step
from .sets import (
    Mahalanobis,
    Points,
    Projection,
    Set,
    Smoothed,
    Sphere,
    Subspace,
    Union,
    gradient,
    smoothed,
    support,
    transformed,
)

reach = greatest_factor
"""An older name of :func:`greatest_factor`."""

__all__ = [
    "Adversary",
    "ErrorModel",
    "Mahalanobis",
    "Points",
    "Projection",
    "Set",
    "Smoothed",
    "Sphere",
    "Subspace",
    "Union",
    "check",
    "distance_bounds",
    "gradient",
    "greatest_factor",
    "greatest_step",
    "least_squares_gamma",
    "least_steps",
    "levina_bickel",
    "manifold_reach",
    "measure",
    "neighbour_distances",
    "reach",
    "smoothed",
    "statement",
    "support",
    "transformed",
    "two_nn",
]
