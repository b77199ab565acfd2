"""Measurements that are not linear but whose consistent images form a box in some coordinates:
quantisation and clipping of pixels."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from diffdescent.core.options import In

from .base import Operator, register
from .bound import Bound, Shape


class Cells(Bound):
    """A measurement that sends a whole set of images, a cell, to one y, and y itself into its cell.

    The gradient is that of ½·dist(x, cell of y)²: the way back to the nearest consistent image. The
    Jacobian of the measurement is zero almost everywhere, or blind where it clips, and leads
    nowhere.
    """

    linear = False

    def gradient(self, x: Tensor, y: Tensor) -> Tensor:
        return x - self.project(x, y)

    def pullback(self, x: Tensor, v: Tensor) -> Tensor:
        """``v`` itself: the measurement counts as the identity (a straight-through gradient)."""
        return v

    @abstractmethod
    def project(self, x: Tensor, y: Tensor) -> Tensor: ...


class Intervals(Cells):
    """Pixel by pixel: y is the level of the interval that x lies in."""

    def __init__(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(shape, shape, dtype, device)

    @abstractmethod
    def ends(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """The lowest and highest x of each interval; ±∞ where it is open."""

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        low, high = self.ends(y)
        return torch.maximum(torch.minimum(x, high), low)


class Quantised(Intervals):
    """The nearest of ``levels`` values from −1 to 1; beyond them the first and the last."""

    def __init__(self, shape: Shape, levels: int, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(shape, dtype, device)
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        top = self.levels - 1
        return ((x + 1) * (top / 2)).round().clamp(0, top) * (2 / top) - 1

    def ends(self, y: Tensor) -> tuple[Tensor, Tensor]:
        # A little inside the cell, so that rounding does not carry its edge to the next level.
        half = (1 - 1e-3) / (self.levels - 1)
        inside = 1 - half
        low = torch.where(y > -inside, y - half, -torch.inf)
        return low, torch.where(y < inside, y + half, torch.inf)


class Clipped(Intervals):
    """x where |x| < ``limit``, ±limit beyond."""

    def __init__(
        self, shape: Shape, limit: float, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(shape, dtype, device)
        self.limit = limit

    def forward(self, x: Tensor) -> Tensor:
        return x.clamp(-self.limit, self.limit)

    def pullback(self, x: Tensor, v: Tensor) -> Tensor:
        """J(x)ᵀ v: ``v`` where the pixel is not clipped."""
        return torch.where(x.abs() < self.limit, v, 0.0)

    def ends(self, y: Tensor) -> tuple[Tensor, Tensor]:
        low = torch.where(y > -self.limit, y, -torch.inf)
        return low, torch.where(y < self.limit, y, torch.inf)


@register("quantize")
@dataclass(frozen=True)
class Quantize(Operator):
    """Pixels rounded to 2^``bits`` values, evenly spaced from −1 to 1."""

    bits: Annotated[int, In(1, 8, hint="3 leaves 8 values")] = 3
    variants: ClassVar = ({}, {"bits": 1}, {"bits": 8})

    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Quantised:
        return Quantised(shape, 2**self.bits, dtype, device)


@register("clip")
@dataclass(frozen=True)
class Clip(Operator):
    """Pixels clipped to [−``limit``, ``limit``], as an exposure too long or too short clips
    them."""

    limit: Annotated[float, In(0, 1, "(]", "images lie in [−1, 1]")] = 0.5
    variants: ClassVar = ({}, {"limit": 0.1})

    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Clipped:
        return Clipped(shape, self.limit, dtype, device)
