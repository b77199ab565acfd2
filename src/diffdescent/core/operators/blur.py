"""Blurs: Gaussian, box and motion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.options import In

from . import kernels
from .base import Operator, register
from .bound import Shape
from .kernels import Boundary
from .separable import Separable


def _separable(
    kernel: Tensor, shape: Shape, boundary: Boundary, dtype: torch.dtype, device: torch.device
) -> Separable:
    rows, columns = (kernels.filter_matrix(kernel, n, boundary) for n in shape[1:])
    return Separable(shape, rows, columns, dtype, device)


@register("blur")
@dataclass(frozen=True)
class Blur(Operator):
    """Gaussian blur of standard deviation ``sigma`` pixels, cut at ⌈4σ⌉ pixels, of sum 1.

    ``boundary`` says what stands beyond the edge: the image mirrored, the other edge, or zero.
    """

    sigma: Annotated[float, In(0, ends="()", hint="in pixels")] = 1.0
    boundary: Boundary = "reflect"
    variants: ClassVar = ({}, {"sigma": 2.0}, {"boundary": "circular"}, {"boundary": "zero"})

    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Separable:
        return _separable(kernels.gaussian(self.sigma), shape, self.boundary, dtype, device)


@register("box_blur")
@dataclass(frozen=True)
class BoxBlur(Operator):
    """The mean over ``size`` × ``size`` pixels around each; ``boundary`` as in :class:`Blur`.

    Raises:
        UserError: a size that is not odd.
    """

    size: Annotated[int, In(1, hint="an odd number of pixels")] = 3
    boundary: Boundary = "reflect"
    variants: ClassVar = ({}, {"size": 5, "boundary": "circular"}, {"boundary": "zero"})

    def check_together(self) -> None:
        if self.size % 2 == 0:
            raise UserError(
                f"A box blur of even size has no middle; give an odd size, not {self.size}."
            )

    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Separable:
        return _separable(kernels.box(self.size), shape, self.boundary, dtype, device)
