"""Heads, arms, legs and fingers read back from any image of the figures' kind.

No network: an image is thresholded, and what a disc of radius ``THICK`` fits into is body, the rest
limbs. The largest body part is the torso (or palm), the others are heads. A limb is a thin branch
that leads at least ``SHORTEST`` pixels away from the body. Branches are counted by their tips,
found as maxima of the geodesic distance to the body, and by their roots; legs that grew together at
the hip have one root and two tips, feet that touch have two roots and one tip, so the larger number
counts. A round body is a palm and its limbs are fingers; on a long one, what leaves it near its
lower edge is a leg and the rest are arms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from diffdescent.base.errors import UserError

from .figures import SPECIES

SCALE = 3
"""Images are enlarged by this factor before anything is measured."""
THICK, MARGIN = 1.6, 0.4
"""Least half width of a body part, and how far beyond what fits in it a part reaches, in pixels."""
SHORTEST = 2.5
"""Least length of a limb outside the body in pixels; the shortest of the training set has about
5."""
SPECK = 3.0
"""Separate pieces up to this area (square pixels) are ignored; a larger one makes the image
unreadable."""
GRAIN = 0.1
"""Brightness this near to black or white counts as black or white when an image is tested for
blur."""
GREYEST = 0.75
"""Largest share of grey, Σ4v(1−v)/Σv with v the brightness in [0, 1]; renders have .28 to .47."""
ROUND = 1.5
"""A body whose longer axis is up to so many times the shorter one is a palm (axes: standard
deviations of its core)."""
LOW = 0.68
"""Limbs that leave the torso below this share of its height are legs."""
_REACH = 2.5  # a tip is farther from the body than every pixel of its limb within this many pixels

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Readings:
    """``counts`` (n, 4): heads, arms, legs, fingers; ``unreadable[i]`` says why image i has none,
    else "".

    The counts of an unreadable image are −1.
    """

    counts: Ints
    unreadable: list[str]

    def __len__(self) -> int:
        return len(self.unreadable)

    @property
    def species(self) -> list[str]:
        """The species with these counts, "peculiar" where there is none, or "unreadable"."""
        known = {s.counts: name for name, s in SPECIES.items()}
        rows = zip(self.counts.tolist(), self.unreadable, strict=True)
        return ["unreadable" if why else known.get(tuple(row), "peculiar") for row, why in rows]

    @property
    def peculiar(self) -> Bools:
        """Readable, and of no species."""
        return np.array([s == "peculiar" for s in self.species], dtype=bool)

    @property
    def readable(self) -> Bools:
        """Whether there is a count."""
        return np.array([not why for why in self.unreadable], dtype=bool)

    def tally(self) -> dict[str, int]:
        """How often each species, "peculiar" and "unreadable" occur."""
        found = Counter(self.species)
        return {name: found.get(name, 0) for name in (*SPECIES, "peculiar", "unreadable")}


def count_limbs(images: Tensor | npt.NDArray[Any], batch: int = 250) -> Readings:
    """Read the limbs of images.

    Args:
        images: grey images (n, H, W) or (n, 1, H, W), uint8 0 … 255 or floats in [−1, 1], white on
            black.
        batch: how many are read at a time; changes nothing.

    Raises:
        UserError: images of another shape, colour images, or scipy is missing.
    """
    pages = torch.as_tensor(images)
    if pages.ndim == 4 and pages.shape[1] == 1:
        pages = pages[:, 0]
    if pages.ndim != 3:
        raise UserError(
            "The counter reads grey images of shape (n, H, W) or (n, 1, H, W), not"
            f" {tuple(pages.shape)}."
        )
    light = (
        pages.float().cpu() / 255
        if pages.dtype == torch.uint8
        else pages.float().cpu().add(1).div(2).clamp(0, 1)
    )
    counts: list[Ints] = []
    reasons: list[str] = []
    for part in torch.split(light, batch):
        found, why = _read(part)
        counts.append(found)
        reasons += why
    return Readings(np.concatenate(counts) if counts else np.empty((0, 4), np.int64), reasons)


def _read(light: Tensor) -> tuple[Ints, list[str]]:
    large = F.interpolate(light[:, None], scale_factor=SCALE, mode="bilinear", align_corners=False)[
        :, 0
    ].numpy()
    mask = large > 0.5
    firm = ((light - GRAIN) / (1 - 2 * GRAIN)).clamp(0, 1)
    grey = (4 * firm * (1 - firm)).sum((1, 2)) / firm.sum((1, 2)).clamp(min=1e-6)
    mask, pieces = _largest_piece(mask)
    inside = np.stack([_distance(page) for page in mask]) > THICK * SCALE
    cores = _label(inside)
    thick, torso, heads = _bodies(mask, cores)
    thin = mask & ~thick
    steps = _steps_from(thick, thin)
    limbs, tips = _label(thin), _label(_tips(steps, thin))
    at_torso = thin & _grow(torso)
    roots = _label(thin & _grow(at_torso))
    at_head = thin & _grow(thick & ~torso)
    counts = np.full((len(mask), 4), -1, np.int64)
    reasons = []
    for i in range(len(mask)):
        why = _unreadable(float(grey[i]), pieces[i], bool(torso[i].any()))
        reasons.append(why)
        if not why:
            page = _Page(torso[i], limbs[i], tips[i], roots[i], at_head[i], steps[i])
            upper, lower = page.count()
            palm = _elongation(inside[i] & torso[i]) <= ROUND
            counts[i] = (heads[i], 0, 0, upper + lower) if palm else (heads[i], upper, lower, 0)
    return counts, reasons


def _unreadable(grey: float, pieces: int, body: bool) -> str:
    if pieces == 0:
        return "empty"
    if grey > GREYEST:
        return "blurred"
    if pieces > 1:
        return "in pieces"
    return "" if body else "no body"


@dataclass(frozen=True)
class _Page:
    """One enlarged image, (H, W) each: the torso, and numbered limbs, tips and roots."""

    torso: Bools
    limbs: Ints
    tips: Ints
    roots: Ints
    at_head: Bools
    steps: Ints

    def count(self) -> tuple[int, int]:
        """How many limbs leave the torso above and below ``LOW``."""
        rows = np.nonzero(self.torso)[0]
        line = rows.min() + LOW * (rows.max() - rows.min())
        upper = lower = 0
        for limb in range(1, int(self.limbs.max()) + 1):
            here = self.limbs == limb
            if self.steps[here].max() < SHORTEST * SCALE:
                continue
            tips = len(set(self.tips[here].tolist()) - {0})
            if (
                here & self.at_head
            ).any():  # a neck is no limb; what branches off one, or off a head, is
                upper += tips
                continue
            roots = sorted(set(self.roots[here].tolist()) - {0})
            low = [bool(np.nonzero(here & (self.roots == root))[0].mean() > line) for root in roots]
            number = max(tips, len(low))
            below = number if all(low) else sum(low)
            lower, upper = lower + below, upper + number - below
        return upper, lower


def _elongation(core: Bools) -> float:
    """Ratio of the standard deviations of a region's pixels along its two principal axes."""
    spread = np.cov(np.stack(np.nonzero(core))) if core.sum() > 2 else np.eye(2)
    short, long = np.linalg.eigvalsh(spread)
    return float(np.sqrt(long / max(short, 1e-9)))


def _ndimage() -> Any:
    try:
        from scipy import ndimage  # type: ignore[import-untyped]
    except ImportError:
        raise UserError(
            "Counting limbs needs scipy; install it with: pip install 'diffdescent[evaluate]'."
        ) from None
    return ndimage


def _distance(page: Bools) -> npt.NDArray[np.float64]:
    """Distance of each pixel to the nearest one that is off, in enlarged pixels; the outside of the
    image is off."""
    return np.asarray(_ndimage().distance_transform_edt(np.pad(page, 1)))[1:-1, 1:-1]


def _label(pages: Bools) -> Ints:
    """Connected regions of each page, numbered from 1 page by page; diagonal neighbours are
    connected."""
    structure = np.zeros((3, 3, 3), int)
    structure[1] = 1
    numbers = np.asarray(_ndimage().label(pages, structure)[0], np.int64)
    highest = np.maximum.accumulate(numbers.reshape(len(pages), -1).max(1))
    before = np.concatenate([[0], highest[:-1]])
    return np.where(numbers > 0, numbers - before[:, None, None], 0)


def _sizes(labels: Ints) -> Ints:
    """Pixels of each region, region 0 (the background) given 0."""
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return sizes


def _largest_piece(mask: Bools) -> tuple[Bools, list[int]]:
    """Each page's largest region, and how many regions larger than a speck there are."""
    kept, pieces = np.zeros_like(mask), []
    for i, labels in enumerate(_label(mask)):
        sizes = _sizes(labels)
        pieces.append(int((sizes > SPECK * SCALE**2).sum()))
        if len(sizes) > 1:
            kept[i] = labels == sizes.argmax()
    return kept, pieces


def _bodies(mask: Bools, cores: Ints) -> tuple[Bools, Bools, list[int]]:
    """Body parts, the torso among them, and the number of the others."""
    thick, torso, heads = np.zeros_like(mask), np.zeros_like(mask), []
    for i, labels in enumerate(cores):
        sizes = _sizes(labels)
        heads.append(max(0, int((sizes > 0).sum()) - 1))
        if heads[-1] or len(sizes) > 1:
            reach = (THICK + MARGIN) * SCALE
            away, nearest = _ndimage().distance_transform_edt(labels == 0, return_indices=True)
            thick[i] = mask[i] & (away <= reach)
            torso[i] = thick[i] & (labels[tuple(nearest)] == sizes.argmax())
    return thick, torso, heads


def _grow(pages: Bools, diagonal: bool = True) -> Bools:
    """Each page with its pixels' neighbours: 8, or 4."""
    tall = np.array(pages)
    tall[:, 1:] |= pages[:, :-1]
    tall[:, :-1] |= pages[:, 1:]
    source = tall if diagonal else pages
    wide = np.array(tall)
    wide[:, :, 1:] |= source[:, :, :-1]
    wide[:, :, :-1] |= source[:, :, 1:]
    return wide


def _steps_from(start: Bools, allowed: Bools) -> Ints:
    """Steps from ``start`` through ``allowed``, straight and diagonal in turn (an octagonal
    metric); 0 elsewhere."""
    steps = np.zeros(start.shape, np.int64)
    reached, number = np.array(start), 0
    while True:
        number += 1
        front = _grow(reached, diagonal=number % 2 == 0) & allowed & ~reached
        if not front.any() and not (_grow(reached) & allowed & ~reached).any():
            return steps
        steps[front] = number
        reached |= front


def _tips(steps: Ints, thin: Bools) -> Bools:
    """Where no pixel of the limb within ``_REACH`` is farther from the body, grown so that one tip
    is one region."""
    highest = np.where(thin, steps, 0).astype(np.int16)
    own = np.array(highest)
    for _ in range(round(_REACH * SCALE)):
        highest = np.where(thin, _neighbourhood_max(highest), 0)
    tips = thin & (own == highest) & (own >= SHORTEST * SCALE)
    for _ in range(2):
        tips = _grow(tips) & thin
    return np.asarray(tips)


def _neighbourhood_max(pages: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    tall = np.array(pages)
    np.maximum(tall[:, 1:], pages[:, :-1], out=tall[:, 1:])
    np.maximum(tall[:, :-1], pages[:, 1:], out=tall[:, :-1])
    wide = np.array(tall)
    np.maximum(wide[:, :, 1:], tall[:, :, :-1], out=wide[:, :, 1:])
    np.maximum(wide[:, :, :-1], tall[:, :, 1:], out=wide[:, :, :-1])
    return wide


def thresholds() -> dict[str, float]:
    """The numbers that decide a reading: readings of other thresholds are not to be mixed with
    these."""
    return {
        "scale": SCALE,
        "thick": THICK,
        "margin": MARGIN,
        "shortest": SHORTEST,
        "speck": SPECK,
        "grain": GRAIN,
        "greyest": GREYEST,
        "round": ROUND,
        "low": LOW,
        "reach": _REACH,
    }


def wrong(readings: Readings, truth: Sequence[Sequence[int]]) -> Bools:
    """Which readings differ from the true (heads, arms, legs, fingers); an unreadable image is
    wrong."""
    return np.asarray((readings.counts != np.asarray(truth)).any(1))
