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
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from diffdescent.base.errors import UserError

from .regions import (
    Bools,
    Ints,
    bodies,
    grow,
    inner_distance,
    largest_region,
    limb_tips,
    numbered,
    steps_from,
)
from .species import SPECIES
from .thresholds import GRAIN, GREYEST, LOW, ROUND, SCALE, SHORTEST, THICK

Unreadable = Literal["", "empty", "blurred", "in pieces", "no body"]
"""Why an image has no counts, "" where it has some."""


@dataclass(frozen=True)
class Readings:
    """``counts`` (n, 4): heads, arms, legs, fingers; ``unreadable[i]`` says why image i has none,
    else "".

    The counts of an unreadable image are −1.
    """

    counts: Ints
    unreadable: list[Unreadable]

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
    reasons: list[Unreadable] = []
    for part in torch.split(light, batch):
        found, why = _read(part)
        counts.append(found)
        reasons += why
    return Readings(np.concatenate(counts) if counts else np.empty((0, 4), np.int64), reasons)


def _read(light: Tensor) -> tuple[Ints, list[Unreadable]]:
    large = F.interpolate(light[:, None], scale_factor=SCALE, mode="bilinear", align_corners=False)[
        :, 0
    ].numpy()
    mask = large > 0.5
    firm = ((light - GRAIN) / (1 - 2 * GRAIN)).clamp(0, 1)
    grey = (4 * firm * (1 - firm)).sum((1, 2)) / firm.sum((1, 2)).clamp(min=1e-6)
    mask, pieces = largest_region(mask)
    inside = np.stack([inner_distance(page) for page in mask]) > THICK * SCALE
    cores = numbered(inside)
    thick, torso, heads = bodies(mask, cores)
    thin = mask & ~thick
    steps = steps_from(thick, thin)
    limbs, tips = numbered(thin), numbered(limb_tips(steps, thin))
    at_torso = thin & grow(torso)
    roots = numbered(thin & grow(at_torso))
    at_head = thin & grow(thick & ~torso)
    counts = np.full((len(mask), 4), -1, np.int64)
    reasons: list[Unreadable] = []
    for i in range(len(mask)):
        why = _unreadable(float(grey[i]), pieces[i], bool(torso[i].any()))
        reasons.append(why)
        if not why:
            page = _Page(torso[i], limbs[i], tips[i], roots[i], at_head[i], steps[i])
            upper, lower = page.count()
            palm = _elongation(inside[i] & torso[i]) <= ROUND
            counts[i] = (heads[i], 0, 0, upper + lower) if palm else (heads[i], upper, lower, 0)
    return counts, reasons


def _unreadable(grey: float, pieces: int, body: bool) -> Unreadable:
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
            ).any():  # a neck is not a limb; what branches off one, or off a head, is
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


def wrong(readings: Readings, truth: Sequence[Sequence[int]]) -> Bools:
    """Which readings differ from the true (heads, arms, legs, fingers); an unreadable image is
    wrong."""
    return np.asarray((readings.counts != np.asarray(truth)).any(1))
