"""Sets of images that are the same condition at every pixel: a box, a palette."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.options import Filled

from .base import Constraint, ConstraintSet, Shape, register


class BoxSet(ConstraintSet):
    """low ≤ x ≤ high, with numbers or tensors that broadcast to one image."""

    def __init__(self, low: Tensor | float, high: Tensor | float) -> None:
        self.low, self.high = torch.as_tensor(low), torch.as_tensor(high)

    def project(self, x: Tensor) -> Tensor:
        return torch.maximum(torch.minimum(x, self.high.to(x)), self.low.to(x))


class PaletteSet(ConstraintSet):
    """Every pixel is one of the ``colours`` (k, C): the nearest one. It is not convex."""

    convex = False

    def __init__(self, colours: Tensor) -> None:
        self.colours = colours

    def project(self, x: Tensor) -> Tensor:
        painted = [colour.view(1, -1, 1, 1).expand_as(x) for colour in self.colours.to(x)]
        chosen: Tensor = painted[0]
        best = _apart(x, chosen)
        for other in painted[1:]:
            apart = _apart(x, other)
            chosen = torch.where(apart < best, other, chosen)
            best = torch.minimum(apart, best)
        return chosen.clone()


def _apart(a: Tensor, b: Tensor) -> Tensor:
    """The squared distance of the colours at each pixel, (B, 1, H, W)."""
    apart: Tensor = (a - b).square().sum(1, keepdim=True)
    return apart


@register("box")
@dataclass(frozen=True)
class Box(Constraint):
    """low ≤ x ≤ high at every number of the image.

    Raises:
        UserError: where low > high.
    """

    low: float = -1.0
    high: float = 1.0
    images: ClassVar = "images with all numbers in an interval"
    projection: ClassVar = "min(max(x, low), high)"
    variants: ClassVar = ({}, {"low": -0.2, "high": 0.3})

    def check_together(self) -> None:
        if self.low > self.high:
            raise UserError(f"A box from {self.low:g} to {self.high:g} is empty; give low ≤ high.")

    def fit(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> BoxSet:
        return BoxSet(self.low, self.high)


@register("palette")
@dataclass(frozen=True)
class Palette(Constraint):
    """Every pixel has one of the ``colours``, each a number a channel in [−1, 1].

    Raises:
        UserError: colours of another number of channels than the image.
    """

    colours: Annotated[tuple[tuple[float, ...], ...], Filled("give at least one colour")] = (
        (-1.0, -1.0, -1.0),
        (1.0, 1.0, 1.0),
    )
    images: ClassVar = "images with these colours alone"
    projection: ClassVar = "the nearest colour of each pixel"
    variants: ClassVar = ({}, {"colours": ((-1.0, 0.0, 0.5), (0.2, 0.1, 0.0), (1.0, 1.0, 0.0))})

    def fit(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> PaletteSet:
        if any(len(colour) != shape[0] for colour in self.colours):
            raise UserError(
                f"Each colour of a palette needs {shape[0]} numbers, one a channel of the image."
            )
        return PaletteSet(torch.tensor(self.colours, dtype=dtype, device=device))
