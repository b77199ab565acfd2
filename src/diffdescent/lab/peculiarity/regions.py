"""Regions of pixels: the body, the limbs that leave it, their tips and their roots."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from diffdescent.base.errors import UserError

from .thresholds import MARGIN, SCALE, SHORTEST, SPECK, THICK, TIP_RADIUS

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def _ndimage() -> Any:
    try:
        from scipy import ndimage
    except ImportError:
        raise UserError(
            "Counting limbs needs scipy; install it with: pip install 'diffdescent[evaluate]'."
        ) from None
    return ndimage


def inner_distance(page: Bools) -> npt.NDArray[np.float64]:
    """Distance of each pixel to the nearest one that is off, in enlarged pixels; the outside of the
    image is off."""
    return np.asarray(_ndimage().distance_transform_edt(np.pad(page, 1)))[1:-1, 1:-1]


def numbered(pages: Bools) -> Ints:
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


def largest_region(mask: Bools) -> tuple[Bools, list[int]]:
    """Each page's largest region, and how many regions larger than a speck there are."""
    kept, pieces = np.zeros_like(mask), []
    for i, labels in enumerate(numbered(mask)):
        sizes = _sizes(labels)
        pieces.append(int((sizes > SPECK * SCALE**2).sum()))
        if len(sizes) > 1:
            kept[i] = labels == sizes.argmax()
    return kept, pieces


def bodies(mask: Bools, cores: Ints) -> tuple[Bools, Bools, list[int]]:
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


def grow(pages: Bools, diagonal: bool = True) -> Bools:
    """Each page with its pixels' neighbours: 8, or 4."""
    tall = np.array(pages)
    tall[:, 1:] |= pages[:, :-1]
    tall[:, :-1] |= pages[:, 1:]
    source = tall if diagonal else pages
    wide = np.array(tall)
    wide[:, :, 1:] |= source[:, :, :-1]
    wide[:, :, :-1] |= source[:, :, 1:]
    return wide


def steps_from(start: Bools, allowed: Bools) -> Ints:
    """Steps from ``start`` through ``allowed``, straight and diagonal in turn (an octagonal
    metric); 0 elsewhere."""
    steps = np.zeros(start.shape, np.int64)
    reached, number = np.array(start), 0
    while True:
        number += 1
        front = grow(reached, diagonal=number % 2 == 0) & allowed & ~reached
        if not front.any() and not (grow(reached) & allowed & ~reached).any():
            return steps
        steps[front] = number
        reached |= front


def limb_tips(steps: Ints, thin: Bools) -> Bools:
    """Where no pixel of the limb within ``TIP_RADIUS`` is farther from the body, grown so that one
    tip is one region."""
    highest = np.where(thin, steps, 0).astype(np.int16)
    own = np.array(highest)
    for _ in range(round(TIP_RADIUS * SCALE)):
        highest = np.where(thin, _neighbourhood_max(highest), 0)
    tips = thin & (own == highest) & (own >= SHORTEST * SCALE)
    for _ in range(2):
        tips = grow(tips) & thin
    return np.asarray(tips)


def _neighbourhood_max(pages: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    tall = np.array(pages)
    np.maximum(tall[:, 1:], pages[:, :-1], out=tall[:, 1:])
    np.maximum(tall[:, :-1], pages[:, 1:], out=tall[:, :-1])
    wide = np.array(tall)
    np.maximum(wide[:, :, 1:], tall[:, :, :-1], out=wide[:, :, 1:])
    np.maximum(wide[:, :, :-1], tall[:, :, 1:], out=wide[:, :, :-1])
    return wide
