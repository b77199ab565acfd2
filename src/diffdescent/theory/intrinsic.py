"""What a sample of points says about the manifold that it comes from: its dimension and its reach."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UserError
from .distance import Points

ROWS = 256
"""Points whose neighbours are looked for at a time."""
_FAR = 3.0
"""Pairs within this many radii of a neighbourhood measure the tilt of its tangent space more than the curvature."""


class Near(NamedTuple):
    """Distances (m, k), ascending, from m points to their k nearest others, and the indices ``others`` of those (m, k).

    ``which`` (m,) are the points asked about; ``duplicates`` of them lie on another point and are left out.
    """

    distance: Tensor
    others: Tensor
    which: Tensor
    duplicates: int


def neighbour_distances(points: Points, k: int, *, sample: int | None = None, seed: int = 0) -> Near:
    """The k nearest others of ``sample`` points of the set, drawn with ``seed`` (None: of all of them).

    Points that another one repeats exactly are left out: their distance 0 says nothing of the manifold.
    Raises :class:`UserError` for a set with fewer than k + 2 points.
    """
    if len(points) < k + 2:
        raise UserError(f"{k} neighbours need at least {k + 2} points, and the set has {len(points)}; add images.")
    which = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))[: sample or len(points)]
    which = which.to(points.data.device)
    distances, indices = [], []
    for rows in torch.split(which, ROWS):
        distance, index = points.data.neighbours(points.data.values(rows), k + 1)
        distances.append(distance)
        indices.append(index)
    distance, index = torch.cat(distances), torch.cat(indices)
    single = distance[:, 1] > 0
    return Near(distance[single, 1:], index[single, 1:], which[single], int((~single).sum()))


def two_nn(near: Near) -> float:
    """TwoNN (Facco et al. 2017, Scientific Reports 7:12140): μ = r₂/r₁ is Pareto with exponent d, whose
    maximum-likelihood estimate is m/Σ log μ. Needs two neighbours."""
    ratio = (near.distance[:, 1] / near.distance[:, 0]).log()
    return len(ratio) / float(ratio.sum())


def levina_bickel(near: Near) -> float:
    """The maximum-likelihood estimate of Levina and Bickel (2004, NIPS, eq. 9) with k neighbours, whose inverses are
    averaged over the points (MacKay and Ghahramani 2005): (k − 1)/mean Σ_{j<k} log(r_k/r_j). Needs k ≥ 2."""
    logs = near.distance.log()
    inverse = (logs[:, -1:] - logs[:, :-1]).mean(dim=1)
    return 1 / float(inverse.mean())


def manifold_reach(points: Points, near: Near, dimension: int) -> float:
    """An estimate of the reach of the manifold behind the points (Aamari et al. 2019, EJS 13(1), eq. 6.1):

        inf over pairs of ‖q − p‖²/(2 dist(q − p, T_p)),

    with the tangent space T_p of ``dimension`` taken from the principal directions of p's neighbours. Pairs nearer
    than three radii of the neighbourhood, whose ratio measures the error of T_p, are left out. A finite sample sees
    only the pairs it has, which raises the estimate; tangents from few neighbours are tilted, which lowers it.

    Raises :class:`UserError` for more dimensions than neighbours.
    """
    if not 1 <= dimension <= near.distance.shape[1]:
        raise UserError(
            f"Tangents of dimension {dimension} need that many neighbours, and {near.distance.shape[1]} were found."
        )
    every = torch.arange(len(points), device=near.which.device)
    best = torch.tensor(torch.inf, dtype=torch.float64)
    for i, which in enumerate(near.which):
        p = points.data.values(which[None]).flatten(1)
        around = points.data.values(near.others[i]).flatten(1) - p
        _, _, directions = torch.linalg.svd(around, full_matrices=False)
        tangent = directions[:dimension]
        for chunk in torch.split(every, points.data.chunk):
            away = points.data.values(chunk).flatten(1) - p
            length = away.norm(dim=1)
            normal = (away - away @ tangent.T @ tangent).norm(dim=1)
            outside = (length > _FAR * near.distance[i, -1]) & (normal > 1e-9 * length)
            if bool(outside.any()):
                best = torch.minimum(best, (length[outside].square() / (2 * normal[outside])).min().cpu())
    return float(best)
