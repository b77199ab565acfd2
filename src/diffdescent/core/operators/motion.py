"""Motion blur: the mean along a short straight line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from diffdescent.core.linear import sandwich
from diffdescent.core.options import In, finite

from .base import Operator, register
from .bound import Linear, Shape
from .fourier import Circular
from .kernels import Boundary, gathered


class Convolution(Linear):
    """The convolution of every channel with an odd ``kernel`` (k, k), float64, the image going on
    beyond its edge as ``boundary`` says (mirrored or zero).

    It knows no singular values: its pseudo-inverse iterates.
    """

    def __init__(
        self,
        in_shape: Shape,
        kernel: Tensor,
        boundary: Boundary,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__(in_shape, in_shape, dtype, device)
        radius = len(kernel) // 2
        extended = [_extension(n, radius, boundary) for n in in_shape[1:]]
        self._rows, self._columns = (e.to(device, dtype) for e in extended)
        sides = (len(extended[0]), len(extended[1]))
        self._inner = Circular((in_shape[0], *sides), centred(kernel, sides), dtype, device)
        self._cut = [slice(radius, radius + n) for n in in_shape[1:]]

    def forward(self, x: Tensor) -> Tensor:
        whole = self._inner.forward(sandwich(self._rows, x, self._columns.T))
        return whole[..., self._cut[0], self._cut[1]]

    def adjoint(self, y: Tensor) -> Tensor:
        whole = y.new_zeros(len(y), *self._inner.in_shape)
        whole[..., self._cut[0], self._cut[1]] = y
        return sandwich(self._rows.T, self._inner.adjoint(whole), self._columns)


def convolution(
    shape: Shape, kernel: Tensor, boundary: Boundary, dtype: torch.dtype, device: torch.device
) -> Linear:
    """The convolution with an odd square ``kernel``; with singular values where it is circular.

    Args:
        shape: of one image, (C, H, W).
        kernel: (k, k) with odd k, float64; the same for every channel.
        boundary: what stands beyond the edge.
        dtype: of the images.
        device: where the images are.

    Returns:
        The operator at this size.
    """
    if boundary != "circular":
        return Convolution(shape, kernel, boundary, dtype, device)
    return Circular(shape, centred(kernel, shape[1:]), dtype, device)


def centred(kernel: Tensor, sides: Shape) -> Tensor:
    """The kernel in an image of zeros with these sides, its middle at (0, 0), wrapped round."""
    places = torch.arange(len(kernel)) - len(kernel) // 2
    rows, columns = (torch.nn.functional.one_hot(places % n, n).double() for n in sides)
    return rows.T @ kernel @ columns


def _extension(n: int, radius: int, boundary: Boundary) -> Tensor:
    """The matrix that sets ``radius`` more pixels on both ends of an axis of ``n``."""
    places = torch.arange(-radius, n + radius)[:, None]
    return gathered(places, torch.ones_like(places, dtype=torch.float64), n, boundary)


def line(length: float, angle: float) -> Tensor:
    """A line of ``length`` pixels at ``angle`` degrees to the horizontal as an odd square kernel of
    sum 1, float64: points along it, each shared by its four pixels."""
    radius, points = math.ceil(length / 2), 16 * math.ceil(length)
    along = ((torch.arange(points, dtype=torch.float64) + 0.5) / points - 0.5) * length
    turn = math.radians(angle)
    rows, columns = radius - along * math.sin(turn), radius + along * math.cos(turn)
    offsets = torch.arange(2 * radius + 1, dtype=torch.float64)
    on_rows = (1 - (rows[:, None] - offsets).abs()).clamp_min(0)
    on_columns = (1 - (columns[:, None] - offsets).abs()).clamp_min(0)
    kernel = on_rows.T @ on_columns
    return kernel / kernel.sum()


@register("motion_blur")
@dataclass(frozen=True)
class MotionBlur(Operator):
    """The mean along a line of ``length`` pixels, at ``angle`` degrees to the horizontal.

    ``boundary`` says what stands beyond the edge: the other edge (which has singular values), the
    image mirrored, or zero (which have not).
    """

    length: Annotated[float, In(1, ends="[)", hint="in pixels")] = 5.0
    angle: Annotated[float, finite("in degrees, 0 is horizontal")] = 30.0
    boundary: Boundary = "circular"
    variants: ClassVar = ({}, {"boundary": "reflect"}, {"angle": 100.0, "boundary": "zero"})

    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Linear:
        return convolution(shape, line(self.length, self.angle), self.boundary, dtype, device)
