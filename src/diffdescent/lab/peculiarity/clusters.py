"""Distance of a pose to the nearest of K pose clusters.

Missing joints follow one rule throughout: a person with fewer than ``least`` joints is left out,
and counted; for all others, means and distances run over the joints that are there. scikit-learn's
K-means takes no missing values, hence the short one here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffdescent.base.errors import UserError
from diffdescent.base.files import pack_arrays, write_atomically
from diffdescent.base.npz import load_arrays
from diffdescent.base.reading import understood

from .poses import JOINTS, Array, Layout, Poses, convert, normalise

KS = (5, 10, 15, 25, 50)
"""Numbers of clusters of Jang et al. 2024, Table 6."""
LEAST = 8
"""Least number of joints of a person that is measured."""

_BUNDLED = Path(__file__).with_name("coco-clusters.npz")


@dataclass(frozen=True)
class Clusters:
    """``centres`` maps K to (K, J, 2), min–max normalised poses in ``layout``, made of ``persons``
    persons."""

    centres: dict[int, Array]
    layout: Layout = "coco17"
    least: int = LEAST
    persons: int = 0


@dataclass(frozen=True)
class Distances:
    """To the nearest centre, for the ``measured`` persons (a mask over all given).

    ``norm`` (m,) is ‖norm(J) − Ψ‖₂ (Eq. 12) over the J joints, what is missing counted at the mean
    square of what is there, so that incomplete poses compare with whole ones. ``rmse`` (m,) is the
    root mean square over the coordinates that are there (Table 6): norm / √(2J). ``nearest`` (m,)
    is the centre.
    """

    norm: Array
    rmse: Array
    nearest: npt.NDArray[np.int64]
    measured: npt.NDArray[np.bool_]


def fit_clusters(
    poses: Poses,
    ks: Sequence[int] = KS,
    *,
    seed: int = 0,
    least: int = LEAST,
    layout: Layout = "coco17",
    rounds: int = 100,
    progress: Callable[[int], None] | None = None,
) -> Clusters:
    """K-means of min–max normalised poses: k-means++ seeds, then Lloyd's rounds until no person
    changes its cluster.

    Source: Jang et al. 2024, Eqs. 10–11. ``progress`` is called with each K when it is done.

    Raises:
        UserError: fewer measurable persons than clusters, or a least number of joints that the
            layout does not have.
    """
    if not 1 <= least <= len(JOINTS[layout]):
        raise UserError(
            f"least={least} is not a number of joints of a person; give 1 to {len(JOINTS[layout])}."
        )
    chosen, _ = _measurable(poses, layout, least)
    points = normalise(chosen).reshape(len(chosen), -1)
    found = {}
    for k in ks:
        if not 1 <= k <= len(points):
            raise UserError(
                f"{k} clusters cannot be made of {len(points)} persons with at least {least}"
                " joints; give more persons, or ask for fewer clusters."
            )
        centres = _kmeans(points, k, np.random.default_rng([seed, k]), rounds)
        found[k] = centres.reshape(k, len(JOINTS[layout]), 2)
        if progress is not None:
            progress(k)
    return Clusters(found, layout, least, len(points))


def _measurable(poses: Poses, layout: Layout, least: int) -> tuple[Poses, npt.NDArray[np.bool_]]:
    same = convert(poses, layout)
    enough = same.present.sum(1) >= least
    return same.chosen(enough), enough


def _squares(points: Array, centres: Array) -> Array:
    """Mean squared difference over the coordinates that are there, (n, K)."""
    there = np.isfinite(points)
    filled = np.where(there, points, 0.0)
    total = (
        (filled**2).sum(1)[:, None]
        - 2 * filled @ centres.T
        + there.astype(np.float64) @ (centres**2).T
    )
    return np.asarray(np.maximum(total, 0.0) / there.sum(1)[:, None])


def _kmeans(points: Array, k: int, rng: np.random.Generator, rounds: int) -> Array:
    there = np.isfinite(points)
    filled = np.where(there, points, 0.0)
    middle = filled.sum(0) / np.maximum(there.sum(0), 1)

    def whole(i: int) -> Array:
        return np.asarray(np.where(there[i], points[i], middle))

    centres = [whole(int(rng.integers(len(points))))]
    nearest = _squares(points, np.stack(centres))[:, 0]
    while len(centres) < k:
        total = nearest.sum()
        chances = nearest / total if total > 0 else None  # all persons sit on a centre already
        centres.append(whole(int(rng.choice(len(points), p=chances))))
        nearest = np.minimum(nearest, _squares(points, centres[-1][None])[:, 0])
    current = np.stack(centres)
    before = np.full(len(points), -1)
    for _ in range(rounds):
        owner = _squares(points, current).argmin(1)
        if (owner == before).all():
            break
        before = owner
        for c in range(k):
            mine = owner == c
            count = there[mine].sum(0)
            # A coordinate that nobody of a cluster has stays where it was.
            current[c] = np.where(count > 0, filled[mine].sum(0) / np.maximum(count, 1), current[c])
    return np.asarray(current)


def distances(poses: Poses, clusters: Clusters, k: int) -> Distances:
    """Distance of every measurable person to the nearest of k centres.

    Raises:
        UserError: no clusters of this number, nobody in the poses, or nobody with enough joints.
    """
    if k not in clusters.centres:
        have = ", ".join(str(n) for n in sorted(clusters.centres))
        raise UserError(
            f"There are no {k} clusters in this file, only {have}; fit them with ks=({k},)."
        )
    if not len(poses):
        raise UserError(
            f"No person was found in {len(poses.images)} images, so there is no pose to measure."
        )
    chosen, enough = _measurable(poses, clusters.layout, clusters.least)
    if not len(chosen):
        raise UserError(
            f"None of the {len(poses)} persons has {clusters.least} joints of {clusters.layout},"
            " the least that is measured; lower `least` when fitting the clusters, or give fuller"
            " poses."
        )
    points = normalise(chosen).reshape(len(chosen), -1)
    squares = _squares(points, clusters.centres[k].reshape(k, -1))
    nearest = squares.argmin(1)
    rmse = np.sqrt(squares[np.arange(len(points)), nearest])
    return Distances(rmse * np.sqrt(points.shape[1]), rmse, nearest, enough)


def save_clusters(clusters: Clusters, path: Path) -> None:
    """Write clusters as an npz: ``k5``, ``k10``, …, ``layout``, ``least``, ``persons``."""
    arrays: dict[str, Any] = {f"k{k}": c.astype(np.float32) for k, c in clusters.centres.items()}
    arrays.update(layout=clusters.layout, least=clusters.least, persons=clusters.persons)
    write_atomically(path, pack_arrays(arrays, compressed=True))


def load_clusters(path: str | Path | None = None) -> Clusters:
    """Clusters from a file of :func:`save_clusters`; None gives the bundled ones, of COCO 2017
    train.

    Raises:
        UserError: no such file, or one of another form.
    """
    file = _BUNDLED if path is None else Path(path)
    if not file.exists():
        raise UserError(
            f"There are no clusters {file}; make them with `diffdescent peculiarity clusters`."
        )
    data = load_arrays(file)
    with understood(file, "pose clusters", "make them again"):
        centres = {int(k[1:]): np.asarray(data[k], np.float64) for k in data if k[:1] == "k"}
        layout, least, persons = str(data["layout"]), int(data["least"]), int(data["persons"])
    shapes = {k: (k, len(JOINTS.get(layout, ())), 2) for k in centres}
    if layout not in JOINTS or not centres or any(c.shape != shapes[k] for k, c in centres.items()):
        raise UserError(f"{file} holds no pose clusters of a known joint layout; make them again.")
    return Clusters(centres, layout, least, persons)  # type: ignore[arg-type]
