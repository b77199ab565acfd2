"""Nearest neighbours within a set of images."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.models.dataset import Dataset
from diffdescent.run.pieces import Arrays, Pieces

ROWS = 256
"""Points whose neighbours are looked for at a time."""


class Images(Protocol):
    """A finite set of images (:class:`~diffdescent.lab.theory.Points`)."""

    data: Dataset

    def __len__(self) -> int: ...


class Near(NamedTuple):
    """Distances (m, k), ascending, from m points to their k nearest others, and the indices
    ``others`` of those (m, k).

    ``which`` (m,) are the points asked about; ``duplicates`` of them lie on another point and are
    left out.
    """

    distance: Tensor
    others: Tensor
    which: Tensor
    duplicates: int


def neighbour_distances(
    points: Images,
    k: int,
    *,
    sample: int | None = None,
    seed: int = 0,
    pieces: Pieces | None = None,
) -> Near:
    """The k nearest others of ``sample`` points of the set, drawn with ``seed`` (None: of all of
    them).

    ``pieces``, whose base names the set, keep what was found, 256 points at a time.

    Points that another one repeats exactly are left out: their distance 0 says nothing about the
    manifold.

    Args:
        points: the set.
        k: how many neighbours.
        sample: how many points are looked at; None: all.
        seed: of the choice of these points.
        pieces: where what was found is kept; None keeps nothing.

    Returns:
        A :class:`Near`: distances (m, k), ascending, and who the neighbours are.

    Raises:
        UserError: a set with fewer than k + 2 points.
    """
    if len(points) < k + 2:
        raise UserError(
            f"{k} neighbours need at least {k + 2} points, and the set has {len(points)}; add"
            " images."
        )
    which = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))[
        : sample or len(points)
    ]
    which = which.to(points.data.device)

    def near(rows: Tensor) -> Arrays:
        distance, index = points.data.neighbours(points.data.values(rows), k + 1)
        return {"distance": distance.cpu().numpy(), "index": index.cpu().numpy()}

    kept = pieces or Pieces(None)
    found = [
        kept.get("neighbours", {"k": k, "rows": rows.tolist()}, partial(near, rows))
        for rows in torch.split(which, ROWS)
    ]
    distance, index = (
        torch.cat([torch.from_numpy(part[name]) for part in found]).to(which.device)
        for name in ("distance", "index")
    )
    single = distance[:, 1] > 0
    return Near(distance[single, 1:], index[single, 1:], which[single], int((~single).sum()))
