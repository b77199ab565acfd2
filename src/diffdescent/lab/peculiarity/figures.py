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
touch is drawn again, so that a figure's limbs can always be told apart. Figure i of a seed depends
on (seed, i) alone.

At this size a hand is a figure of its own: a person's fingers would be less than a pixel wide.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from diffdescent.base.errors import UserError, unknown
from diffdescent.base.files import write_atomically

SIZE = 32
"""Side of an image in pixels."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Species:
    """How many of each part a figure has. ``kind`` is the body plan that the parts are arranged
    on."""

    kind: str
    heads: int = 0
    arms: int = 0
    legs: int = 0
    fingers: int = 0

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """(heads, arms, legs, fingers)."""
        return self.heads, self.arms, self.legs, self.fingers


SPECIES: dict[str, Species] = {
    "person": Species("person", heads=1, arms=2, legs=2),
    "horse": Species("horse", heads=1, legs=4),
    "hand": Species("hand", fingers=5),
}
"""The species of the training set. Any other counts make a figure peculiar."""

LIMB, CLEARANCE = 1.05, 1.25
"""Half the width of a limb, and the least gap between two limbs away from the body, in pixels."""
_TRIES = 400
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
        UserError: a negative seed or index, or no arrangement of so many limbs without touching was
            found.
    """
    if not 0 <= seed < 2**64 or index < 0:
        raise UserError(
            f"Figure {index} of seed {seed} does not exist; both start at 0, and a seed is below"
            " 2^64."
        )
    rng = np.random.Generator(np.random.Philox(key=[seed, 7], counter=[0, 0, 0, index]))
    chosen = species[int(rng.integers(len(species)))]
    plan = _PLANS.get(chosen.kind)
    if plan is None:
        raise unknown("body plan", chosen.kind, _PLANS)
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


def _unit(angle: float) -> Array:
    """0 points down, π/2 to the right, π up."""
    return np.array([np.sin(angle), np.cos(angle)])


def _limb(root: Array, angle: float, bend: float, lengths: tuple[float, float]) -> Array:
    """Two capsules, the second turned by ``bend`` against the first."""
    joint = root + lengths[0] * _unit(angle)
    tip = joint + lengths[1] * _unit(angle + bend)
    return np.array([[*root, *joint, LIMB], [*joint, *tip, LIMB]])


def _spread(count: int, width: float) -> Array:
    """``count`` positions from −width to width; one alone stands in the middle."""
    return np.linspace(-width, width, count) if count > 1 else np.zeros(count)


Draw = np.random.Generator
_Body = tuple[Array, list[Array]]


def _person(species: Species, rng: Draw) -> _Body:
    lean, scale = rng.normal(0, 0.09), rng.uniform(0.93, 1.07)
    up, across = -_unit(lean), np.array([np.cos(lean), -np.sin(lean)])
    hip = np.array([SIZE / 2 + rng.normal(0, 1.6), 18.0 + rng.normal(0, 0.8)])
    shoulder = hip + 4.6 * scale * up
    body = [[*hip, *shoulder, 2.7]]
    for offset in _spread(species.heads, 3.2):
        head = shoulder + 7.2 * scale * up + offset * across
        body += [[*head, *head, 2.6], [*shoulder, *head, LIMB]]
    limbs = []
    for place in _spread(species.legs, 1.0):
        root = hip + 1.9 * place * across
        angle = lean + place * rng.uniform(0.15, 0.75) + (rng.normal(0, 0.2) if place == 0 else 0.0)
        limbs.append(_limb(root, angle, rng.normal(0, 0.35), (4.9 * scale, 4.3 * scale)))
    for i in range(species.arms):
        side = 1 if i % 2 else -1
        root = shoulder + 1.9 * side * across - 0.4 * up
        angle = lean + side * rng.uniform(0.7, 2.5)
        limbs.append(_limb(root, angle, rng.normal(0, 0.6), (4.6 * scale, 3.8 * scale)))
    return np.array(body), limbs


def _horse(species: Species, rng: Draw) -> _Body:
    lean, scale, facing = (
        rng.normal(0, 0.06),
        rng.uniform(0.95, 1.05),
        1 if rng.random() < 0.5 else -1,
    )
    across = np.array([np.cos(lean), -np.sin(lean)])
    half = 5.8 * scale * max(1.0, (species.legs - 1) / (SPECIES["horse"].legs - 1))
    middle = np.array(
        [SIZE / 2 - facing * 0.31 * half / scale + rng.normal(0, 0.8), 15.5 + rng.normal(0, 1.2)]
    )
    body = [[*(middle - half * across), *(middle + half * across), 2.7]]
    for offset in _spread(species.heads, 0.6):
        chest = middle + facing * half * across
        head = chest + 6.9 * scale * _unit(np.pi - facing * (rng.uniform(0.35, 0.85) + offset))
        body += [[*head, *head, 2.3], [*chest, *head, LIMB]]
    limbs = []
    for place in _spread(species.legs, 1.0):
        root = middle + place * half * across + np.array([0.0, 1.0])
        angle = lean + 0.12 * place + rng.normal(0, 0.17)
        limbs.append(_limb(root, angle, rng.normal(0, 0.28), (4.9 * scale, 4.2 * scale)))
    return np.array(body), limbs


def _hand(species: Species, rng: Draw) -> _Body:
    turn, scale = rng.normal(0, 0.10), rng.uniform(0.95, 1.06)
    crowded = species.fingers > SPECIES["hand"].fingers
    spread, rim = (1.42, 4.4) if crowded else (1.3, 3.6)
    palm = np.array([SIZE / 2 + rng.normal(0, 1.2), 20.0 + rng.normal(0, 1.0)])
    limbs = []
    for place in _spread(species.fingers, 1.0):
        angle = np.pi + turn + spread * place + rng.normal(0, 0.05)
        length = (4.6 - 0.9 * abs(place)) * scale * rng.uniform(0.85, 1.12)
        root = palm + rim * _unit(angle)
        limbs.append(_limb(root, angle, rng.normal(0, 0.13), (length, 0.8 * length)))
    return np.array([[*palm, *palm, (rim + 0.7) * scale]]), limbs


_PLANS: dict[str, Callable[[Species, Draw], _Body]] = {
    "person": _person,
    "horse": _horse,
    "hand": _hand,
}


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
    n: int, seed: int = 0, start: int = 0, species: Sequence[Species] = tuple(SPECIES.values())
) -> tuple[npt.NDArray[np.uint8], list[Figure]]:
    """Figures start … start + n − 1 of a seed: their images (n, 32, 32) and what they are made
    of."""
    figures = [draw(seed, start + i, species) for i in range(n)]
    return render(figures), figures


def with_counts(
    name: str,
    *,
    heads: int | None = None,
    arms: int | None = None,
    legs: int | None = None,
    fingers: int | None = None,
) -> Species:
    """A species with other counts, such as ``with_counts("person", legs=3)``: a figure that is
    peculiar by design."""
    if name not in SPECIES:
        raise unknown("species", name, SPECIES)
    asked = {"heads": heads, "arms": arms, "legs": legs, "fingers": fingers}
    changed: dict[str, Any] = {part: number for part, number in asked.items() if number is not None}
    return dataclasses.replace(SPECIES[name], **changed)


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
    for begin, size in _parts(n):
        pages, figures = make_figures(size, seed, begin)
        images.append(pages)
        labels += [names.index(f.species.kind) for f in figures]
        counts += [f.species.counts for f in figures]
        if progress is not None:
            progress(begin + size)
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        arr_0=np.concatenate(images)[..., None],
        arr_1=np.array(labels, np.int64),
        counts=np.array(counts),
    )
    write_atomically(path, buffer.getvalue())


def _parts(n: int, size: int = 500) -> Iterator[tuple[int, int]]:
    for begin in range(0, n, size):
        yield begin, min(size, n - begin)
