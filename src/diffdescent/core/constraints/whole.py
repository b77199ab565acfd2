"""Sets of images by what they are as a whole: a ball, the mean colour, the histogram."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.images import from_uint8, read_image
from diffdescent.core.linear import inner
from diffdescent.core.options import Filled, In

from .base import Constraint, ConstraintSet, Shape, register


class BallSet(ConstraintSet):
    """‖x − centre‖ ≤ radius, with a ``centre`` that broadcasts to one image."""

    def __init__(self, radius: float, centre: Tensor | float = 0.0) -> None:
        self.radius, self.centre = radius, torch.as_tensor(centre)

    def project(self, x: Tensor) -> Tensor:
        apart = x - self.centre.to(x)
        length = inner(apart, apart).sqrt()
        outside = length > self.radius
        scale = torch.where(outside, self.radius / length.where(outside, 1.0), 1.0)
        return torch.where(outside, self.centre.to(x) + apart * scale, x)


class MeanSet(ConstraintSet):
    """The mean of each channel is ``value`` (C,)."""

    affine = True

    def __init__(self, value: Tensor) -> None:
        self.value = value.view(-1, 1, 1)

    def project(self, x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True).mean(-2, keepdim=True)
        return x + (self.value.to(x) - mean)


class HistogramSet(ConstraintSet):
    """Each channel has exactly the ``values`` (C, HW), at any places. It is not convex: the nearest
    gives the i-th smallest pixel the i-th smallest value."""

    convex = False

    def __init__(self, values: Tensor) -> None:
        self.values = values.sort(dim=-1).values

    def project(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        order = flat.argsort(dim=-1, stable=True)
        values = self.values.to(x).expand_as(flat)
        return torch.empty_like(flat).scatter_(2, order, values).view_as(x)


@register("ball")
@dataclass(frozen=True)
class Ball(Constraint):
    """Images whose root mean square distance to an image is at most ``radius``: to the file
    ``image``, or to zero (grey)."""

    radius: Annotated[float, In(0, ends="[)", hint="as a deviation of every number")] = 0.5
    image: str = ""
    images: ClassVar = "images within a distance of one image"
    projection: ClassVar = "c + (x − c)·min(1, radius/‖x − c‖), c the ball's centre"
    variants: ClassVar = ({}, {"radius": 0.1})

    def fit(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> BallSet:
        centre = image_of(self.image, shape) if self.image else torch.zeros(1)
        return BallSet(self.radius * math.sqrt(math.prod(shape)), centre.to(device, dtype))


@register("mean")
@dataclass(frozen=True)
class Mean(Constraint):
    """The mean of each channel is ``value``: one number for all, or one each.

    Raises:
        UserError: another number of them.
    """

    value: Annotated[tuple[float, ...], Filled("give one number, or one a channel")] = (0.0,)
    images: ClassVar = "images with these mean colours"
    projection: ClassVar = "x + (value − mean(x)) in each channel"
    variants: ClassVar = ({}, {"value": (0.1, -0.2, 0.3)})

    def fit(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> MeanSet:
        if len(self.value) not in (1, shape[0]):
            raise UserError(
                f"The mean of an image of {shape[0]} channels is one number or {shape[0]}, not"
                f" {len(self.value)}."
            )
        return MeanSet(torch.tensor(self.value, dtype=dtype, device=device))


@register("histogram")
@dataclass(frozen=True)
class Histogram(Constraint):
    """Each channel has the values of the file ``image``, at any places; without a file evenly
    spread from −1 to 1 (equalised)."""

    image: str = ""
    images: ClassVar = "images with these values at any places"
    projection: ClassVar = "the sorted values in the order of the pixels (optimal transport)"

    def fit(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> HistogramSet:
        even = torch.linspace(-1, 1, shape[1] * shape[2]).expand(shape[0], -1)
        values = image_of(self.image, shape).flatten(1) if self.image else even
        return HistogramSet(values.to(device, dtype))


def image_of(path: str, shape: Shape) -> Tensor:
    """The image of a file in [−1, 1].

    Raises:
        UserError: another size than ``shape``, and images that are not grey or in colours.
    """
    if shape[0] not in (1, 3):
        raise UserError(f"An image file has 1 or 3 channels, and this model's have {shape[0]}.")
    image = from_uint8(read_image(Path(path), channels=shape[0]))
    if tuple(image.shape) != tuple(shape):
        raise UserError(
            f"The image {path} has height {image.shape[1]} and width {image.shape[2]}; give one of"
            f" height {shape[1]} and width {shape[2]}."
        )
    return image
