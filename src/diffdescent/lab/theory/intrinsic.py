"""What a sample of points says about the manifold that it comes from: its dimension and its
reach."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.run.pieces import Arrays, Pieces

from .neighbours import Near
from .sets.points import Points

_FAR = 3.0
"""Pairs within this many radii of a neighbourhood measure the tilt of its tangent space more than
the curvature."""


def two_nn(near: Near) -> float:
    """TwoNN (Facco et al. 2017, Scientific Reports 7:12140): μ = r₂/r₁ is Pareto with exponent d,
    whose maximum-likelihood estimate is m/Σ log μ. Needs two neighbours.

    Args:
        near: distances to the nearest neighbours, by :func:`neighbour_distances`.

    Returns:
        The estimated dimension.
    """
    ratio = (near.distance[:, 1] / near.distance[:, 0]).log()
    return _inverse(float(ratio.mean()))


def levina_bickel(near: Near) -> float:
    """The maximum-likelihood estimate of Levina and Bickel (2004, NIPS, eq. 9) with k neighbours,
    whose inverses are averaged over the points (MacKay and Ghahramani 2005): (k − 1)/mean Σ_{j<k}
    log(r_k/r_j). Needs k ≥ 2.

    Args:
        near: distances to the k nearest neighbours, by :func:`neighbour_distances`.

    Returns:
        The estimated dimension.
    """
    logs = near.distance.log()
    inverse = (logs[:, -1:] - logs[:, :-1]).mean(dim=1)
    return _inverse(float(inverse.mean()))


def _inverse(value: float) -> float:
    """1/value, infinite where all neighbours are equally far."""
    return 1 / value if value > 0 else math.inf


def manifold_reach(
    points: Points, near: Near, dimension: int, *, pieces: Pieces | None = None
) -> float:
    """An estimate of the reach of the manifold behind the points (Aamari et al. 2019, EJS 13(1),
    eq. 6.1):

        inf over pairs of ‖q − p‖²/(2 dist(q − p, T_p)),

    with the tangent space T_p of ``dimension`` taken from the principal directions of p's
    neighbours. Pairs nearer than three radii of the neighbourhood, whose ratio measures the error
    of T_p, are left out. A finite sample sees only the pairs it has, which raises the estimate;
    tangents from few neighbours are tilted, which lowers it. ``pieces``, whose base names the set,
    keep what was found, a tangent space at a time.

    Args:
        points: the set.
        near: its neighbours, by :func:`neighbour_distances`.
        dimension: of the tangent spaces.
        pieces: where what was found is kept; None keeps nothing.

    Returns:
        The estimated reach, in the units of the points.

    Raises:
        UserError: more dimensions than neighbours.
    """
    if not 1 <= dimension <= near.distance.shape[1]:
        raise UserError(
            f"Tangents of dimension {dimension} need that many neighbours, and"
            f" {near.distance.shape[1]} were found."
        )
    kept = pieces or Pieces(None)
    best = math.inf
    for which, others in zip(near.which, near.others, strict=True):
        settings = {"point": int(which), "k": len(others), "dimension": dimension}
        make = partial(_reach_at, points, which, others, dimension)
        best = min(best, float(kept.get("reach", settings, make)["reach"]))
    return best


def _reach_at(points: Points, which: Tensor, others: Tensor, dimension: int) -> Arrays:
    """The least ‖q − p‖²/(2 dist(q − p, T_p)) over all far q, for one p."""
    p = points.data.values(which[None]).flatten(1)
    around = points.data.values(others).flatten(1) - p
    _, _, directions = torch.linalg.svd(around, full_matrices=False)
    tangent, radius = directions[:dimension], around.norm(dim=1).max()
    best = torch.tensor(math.inf, dtype=torch.float64, device=which.device)
    for chunk in torch.split(torch.arange(len(points), device=which.device), points.data.chunk):
        away = points.data.values(chunk).flatten(1) - p
        length = away.norm(dim=1)
        normal = (away - away @ tangent.T @ tangent).norm(dim=1)
        outside = (length > _FAR * radius) & (normal > 1e-9 * length)
        bound = torch.where(outside, length.square() / (2 * normal), math.inf)
        best = torch.minimum(best, bound.min())
    return {"reach": best.cpu().numpy()}
