"""Improved precision and recall (Kynkäänniemi et al. 2019): how many samples look real, how much of
the data is there?

The manifold of a set is the union of balls around its features, each reaching to its k-th nearest
neighbour in the set. Precision is the part of the samples inside the manifold of the reference,
recall the part of the reference inside the manifold of the samples. Distances are computed in
blocks, in float64.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

K = 3
_ROWS = 1024
_NEAR = 24
"""Neighbours remembered for half-sampling: a half misses all but two of them once in 60,000
draws."""
_COVER = 32
"""Balls remembered for each reference image: a half misses all of them once in 2³² draws."""


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean distances (n, m), float64; the rows of ``y`` should be centred near zero."""
    return torch.cdist(x.double(), y.double(), compute_mode="use_mm_for_euclid_dist")


def nearest(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distances and indices (n, count) of the ``count`` nearest other rows of ``x`` (n, d), the
    nearest first."""
    x = x - x.mean(0)
    found = []
    for first in range(0, len(x), _ROWS):
        d = _distances(x[first : first + _ROWS], x)
        rows = torch.arange(len(d))
        d[rows, first + rows] = torch.inf  # a point is not its own neighbour
        found.append(d.topk(count, dim=1, largest=False, sorted=True))
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def radii(x: Tensor, k: int = K) -> Tensor:
    """The distance of each row of ``x`` to its k-th nearest other row, (n,)."""
    return nearest(x, k)[0][:, k - 1]


def inside(points: Tensor, centres: Tensor, radius: Tensor) -> Tensor:
    """Which of ``points`` (n, d) lie in a ball around ``centres`` (m, d) of ``radius`` (m,): bool
    (n,)."""
    shift = centres.mean(0)
    centres = centres - shift
    return torch.cat(
        [(_distances(p - shift, centres) <= radius).any(1) for p in torch.split(points, _ROWS)]
    )


def precision(samples: Tensor, reference: Tensor, *, radius: Tensor | None = None) -> Tensor:
    """Which of the samples (n, d) lie in the reference's manifold, bool (n,); its mean is the
    precision.

    ``radius`` is ``radii(reference)`` where that is known.
    """
    return inside(samples, reference, radii(reference) if radius is None else radius)


class Coverage(NamedTuple):
    """What recall needs to know of the samples, on all of them and on any half.

    ``near`` and ``near_index`` (n, ≤24): each sample's nearest other samples; ``ball`` and
    ``distance`` (m, ≤32): for each reference image the samples whose balls hold it best, and how
    far off they are.
    """

    near: Tensor
    near_index: Tensor
    ball: Tensor
    distance: Tensor


def coverage(samples: Tensor, reference: Tensor, k: int = K) -> Coverage:
    """Looks at every pair of ``samples`` (n, d), and of them and ``reference`` (m, d), once."""
    near, near_index = nearest(samples, min(_NEAR, len(samples) - 1))
    shift = samples.mean(0)
    centres, radius = samples - shift, near[:, k - 1]
    balls, distances = [], []
    for part in torch.split(reference, _ROWS):
        d = _distances(part - shift, centres)
        # How deep in each ball: a ball of radius 0 holds what lies at its centre.
        depth = (d / radius).nan_to_num_(nan=0.0)
        best = depth.topk(min(_COVER, len(samples)), dim=1, largest=False).indices
        balls.append(best)
        distances.append(d.gather(1, best))
    return Coverage(near, near_index, torch.cat(balls), torch.cat(distances))


def recall(found: Coverage, mask: Tensor | None = None, k: int = K) -> float:
    """The part of the reference in the manifold of the samples, or of those in ``mask``, bool
    (n,)."""
    radius = found.near[:, k - 1] if mask is None else _radii_within(found, mask, k)
    covers = found.distance <= radius[found.ball]
    if mask is not None:
        covers &= mask[found.ball]
    return float(covers.any(1).double().mean())


def _radii_within(found: Coverage, mask: Tensor, k: int) -> Tensor:
    """Distances to the k-th nearest sample of the mask; to the last remembered one where fewer are
    remembered."""
    seen = mask[found.near_index].cumsum(1)
    place = (seen < k).sum(1).clamp(max=found.near.shape[1] - 1)
    return found.near.gather(1, place[:, None])[:, 0]
