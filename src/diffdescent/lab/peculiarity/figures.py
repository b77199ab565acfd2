"""Articulated figures whose limbs are known: images on which "peculiar" can be counted.

Three species, white on black, 32 × 32 grey:

===========  =====  ====  ====  =======
species      heads  arms  legs  fingers
===========  =====  ====  ====  =======
``person``       1     2     2        0
``horse``        1     0     4        0
``hand``         0     0     0        5
===========  =====  ====  ====  =======

Every figure is a union of capsules (all points within r of a segment), antialiased by the distance
to their outline. Positions, leans, joints and sizes vary from figure to figure; counts never do, so
that any other count is outside the support of the training set. A pose in which two limbs would
touch is drawn again, so that a figure's limbs never merge. Figure i of a seed depends
on (seed, i) alone.

At this size a hand is a figure of its own: a person's fingers would be less than a pixel wide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffdescent.base.errors import UserError, unknown
from diffdescent.base.files import Arrays, pack_arrays, write_atomically

from .body_plans import BODY_PLANS, CLEARANCE, LIMB, SIZE, Array
from .species import SPECIES, Species

_TRIES = 400
_BLOCK = 500
_FREE = 2.2  # a limb's first pixels, where neighbours may be closer, are not held to the clearance


@dataclass(frozen=True)
class Figure:
    """``parts`` (p, 5): capsules x0, y0, x1, y1, r in pixels, y downwards, pixel centres at whole
    numbers + ½."""

    species: Species
    parts: Array


def draw(seed: int, index: int, species: Sequence[Species] = tuple(SPECIES.values())) -> Figure:
    """Figure ``index`` of a seed, one of ``species`` with equal chances.

    Raises:
        UserError: a negative seed or index, or no arrangement of that many limbs without touching
            was found.
    """
    if not 0 <= seed < 2**64 or index < 0:
        raise UserError(
            f"Figure {index} of seed {seed} does not exist; both start at 0, and a seed is below"
            " 2^64."
        )
    rng = np.random.Generator(np.random.Philox(key=[seed, 7], counter=[0, 0, 0, index]))
    chosen = species[int(rng.integers(len(species)))]
    plan = BODY_PLANS.get(chosen.kind)
    if plan is None:
        raise unknown("body plan", chosen.kind, BODY_PLANS)
    for _ in range(_TRIES):
        body, limbs = plan(chosen, rng)
        parts = np.concatenate([body, *limbs])
        if _inside(parts) and _apart(body, limbs):
            return Figure(chosen, parts)
    raise UserError(
        f"No {chosen.kind} with counts {chosen.counts} could be drawn without touching limbs; ask"
        " for less."
    )


def _inside(parts: Array) -> bool:
    low = np.minimum(parts[:, :2], parts[:, 2:4]) - parts[:, 4:]
    high = np.maximum(parts[:, :2], parts[:, 2:4]) + parts[:, 4:]
    return bool(low.min() >= 0.5 and high.max() <= SIZE - 0.5)


def _points(limb: Array) -> Array:
    """Points along a limb's axis, the first ``_FREE`` pixels from the body left out."""
    along = np.linspace(0, 1, 9)[:, None]
    points = np.concatenate([(1 - along) * p[:2] + along * p[2:4] for p in limb])
    return np.asarray(points[np.hypot(*(points - limb[0, :2]).T) > _FREE])


def _apart(body: Array, limbs: list[Array]) -> bool:
    """Whether the limbs keep clear of each other, of the head and of the torso beyond their own
    root."""
    axes = [_points(limb) for limb in limbs]
    for i, points in enumerate(axes):
        if len(body) > 1 and (_distances(points, body[1:]) - body[1:, 4]).min() < LIMB + CLEARANCE:
            return False
        if (
            len(limbs[i]) > 1
            and (_distances(points[-9:], body[:1]) - body[0, 4]).min() < LIMB + CLEARANCE
        ):
            return False
        for other in axes[:i]:
            gaps = np.hypot(
                points[:, None, 0] - other[None, :, 0], points[:, None, 1] - other[None, :, 1]
            )
            if gaps.min() < 2 * LIMB + CLEARANCE:
                return False
    return True


def _distances(points: Array, parts: Array) -> Array:
    """Distance of each point (n, 2) from each capsule's axis, (n, p)."""
    start, end = parts[None, :, :2], parts[None, :, 2:4]
    along = end - start
    length = np.maximum((along**2).sum(-1), 1e-9)
    t = np.clip((((points[:, None] - start) * along).sum(-1)) / length, 0, 1)
    away = points[:, None] - start - t[..., None] * along
    return np.asarray(np.sqrt((away**2).sum(-1)))


def render(figures: Sequence[Figure]) -> npt.NDArray[np.uint8]:
    """Images (n, 32, 32): 255 · the largest coverage clip(½ + r − distance, 0, 1) over a figure's
    capsules."""
    centres = np.stack(
        np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5, indexing="xy"), -1
    ).reshape(-1, 2)
    pages = np.empty((len(figures), SIZE * SIZE), np.uint8)
    for page, figure in zip(pages, figures, strict=True):
        cover = np.clip(0.5 + (figure.parts[:, 4] - _distances(centres, figure.parts)).max(1), 0, 1)
        page[:] = np.rint(255 * cover)
    return pages.reshape(-1, SIZE, SIZE)


def make_figures(
    n: int, seed: int = 0, start: int = 0
) -> tuple[npt.NDArray[np.uint8], list[Figure]]:
    """Figures start … start + n − 1 of a seed: their images (n, 32, 32) and what they are made
    of."""
    figures = [draw(seed, start + i) for i in range(n)]
    return render(figures), figures


def write_figures(
    path: Path, n: int, seed: int = 0, progress: Callable[[int], None] | None = None
) -> None:
    """Write n figures as the npz that ``diffdescent train`` reads.

    ``arr_0`` (n, 32, 32, 1) uint8, ``arr_1`` int64 species (0 person, 1 horse, 2 hand), ``counts``
    (n, 4) heads, arms, legs, fingers. ``progress`` is called with the number of figures drawn.
    """
    if n < 1:
        raise UserError(f"There is no figure to draw with n={n}; ask for at least 1.")
    names = list(SPECIES)
    images, labels, counts = [], [], []
    for begin in range(0, n, _BLOCK):
        size = min(_BLOCK, n - begin)
        pages, figures = make_figures(size, seed, begin)
        images.append(pages)
        labels += [names.index(f.species.kind) for f in figures]
        counts += [f.species.counts for f in figures]
        if progress is not None:
            progress(begin + size)
    arrays: Arrays = {
        "arr_0": np.concatenate(images)[..., None],
        "arr_1": np.array(labels, np.int64),
        "counts": np.array(counts),
    }
    write_atomically(path, pack_arrays(arrays, compressed=True))
