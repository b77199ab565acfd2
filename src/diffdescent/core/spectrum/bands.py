"""Curves over the radial frequency: values at a few knots, linear in log ρ between them.

The frequency of the coefficient (k, l) of an H×W transform is ρ = √((k/H)² + (l/W)²), in [0, √2):
a half-period of a pixel's side is 1. It does not change with the image's size, so a curve that was
fitted at one size is read at another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.core.process import Array


def radial_frequency(height: int, width: int) -> Array:
    """ρ of each coefficient, (H, W); 0 is the mean."""
    return np.hypot(np.arange(height)[:, None] / height, np.arange(width)[None] / width)


MOST_BANDS = 256
"""More knots than that tell nothing apart, and a fit of them would take all memory."""


@dataclass(frozen=True)
class Bands:
    """The ``knots`` of a curve in ρ, rising. Below the first and above the last a curve is
    constant.

    Raises :class:`UserError` unless there is a knot and they are positive and rise.
    """

    knots: tuple[float, ...]

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.knots, self.knots[1:], strict=False))
        finite = all(math.isfinite(k) and k > 0 for k in self.knots)
        if not self.knots or not rising or not finite:
            raise UserError(
                "The knots of frequency bands are positive numbers that rise, at least one, not"
                f" {list(self.knots)}."
            )

    @classmethod
    def for_size(cls, size: int, count: int) -> Bands:
        """``count`` knots for images of this side: one for the mean, at half the lowest frequency,
        and the others evenly in log ρ from the lowest frequency 1/size to 1; one alone for images
        of one pixel.

        Raises :class:`UserError` unless ``count`` is from 1 to :data:`MOST_BANDS`.
        """
        if not 1 <= count <= MOST_BANDS:
            raise UserError(
                f"There must be 1 to {MOST_BANDS} frequency bands, not {count}; 8 are usual."
            )
        if count == 1 or size == 1:
            return cls((1.0,))
        rest = np.geomspace(1 / size, 1.0, count - 1) if count > 2 else np.array([1.0])
        return cls((0.5 / size, *map(float, rest)))

    @property
    def count(self) -> int:
        """How many knots there are."""
        return len(self.knots)

    def hats(self, height: int, width: int) -> Array:
        """How much each knot counts at each frequency, (knots, H, W); they sum to 1."""
        rho = radial_frequency(height, width)
        place = np.log(np.maximum(rho, 1e-12))
        at = np.log(self.knots)
        return np.stack([np.interp(place, at, row) for row in np.eye(self.count)])

    def curve(self, values: Sequence[float], height: int, width: int) -> Array:
        """The curve through ``values`` at the knots, at each frequency, (H, W)."""
        place = np.log(np.maximum(radial_frequency(height, width), 1e-12))
        return np.asarray(np.interp(place, np.log(self.knots), np.asarray(values)))
