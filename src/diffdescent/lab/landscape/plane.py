"""Principal components: places of high-dimensional points in a plane."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Plane:
    """Places of rows on two principal components, (rows, 2), and the share of the rows' variance
    that they explain."""

    places: Tensor
    share: float


def plane(fit: Tensor, rows: Tensor) -> Plane:
    """``rows`` (m, d) on the two leading principal components of ``fit`` (k, d), by a randomised
    decomposition.

    Args:
        fit: points (k, d) whose two leading principal components span the plane.
        rows: points (m, d) that are put on it.

    Returns:
        A :class:`Plane`: places (m, 2), and the share of the variance of ``rows`` that it explains.
    """
    mean = fit.double().mean(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        _, _, v = torch.svd_lowrank(fit.double() - mean, q=min(8, *fit.shape), niter=6)
    places = torch.zeros(len(rows), 2, dtype=torch.float64)
    centered = rows.double() - mean
    places[:, : min(2, v.shape[1])] = centered @ v[:, :2]
    return Plane(places, explained_share(places, centered))


def explained_share(places: Tensor, rows: Tensor) -> float:
    """The variance of ``places`` over that of ``rows``; 1 where there is none."""
    total = float(rows.var(0, correction=0).sum())
    return float(places.var(0, correction=0).sum()) / total if total else 1.0
