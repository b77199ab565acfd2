"""Sets of images with a geometric property: symmetry, seams that close."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from diffdescent.base.errors import UserError

from .base import Constraint, ConstraintSet, Shape, register

Kind = Literal["horizontal", "vertical", "both", "turn2", "turn4", "diagonal"]


class SymmetrySet(ConstraintSet):
    """Images that the group of ``kind`` leaves as they are: the mean over what it makes of one."""

    affine = True

    def __init__(self, kind: Kind) -> None:
        self.kind = kind

    def project(self, x: Tensor) -> Tensor:
        if self.kind == "both":
            half = _mean(x, x.flip(-1))
            return _mean(half, half.flip(-2))
        if self.kind == "turn4":
            half = _mean(x, x.flip(-2, -1))
            return _mean(half, half.transpose(-2, -1).flip(-1))
        return _mean(x, _MIRRORED[self.kind](x))


_MIRRORED: dict[str, Callable[[Tensor], Tensor]] = {
    "horizontal": lambda x: x.flip(-1),
    "vertical": lambda x: x.flip(-2),
    "turn2": lambda x: x.flip(-2, -1),
    "diagonal": lambda x: x.transpose(-2, -1),
}


def _mean(a: Tensor, b: Tensor) -> Tensor:
    return (a + b) * 0.5


class SeamSet(ConstraintSet):
    """Images that go on over their own edge, along each of the axes ``along``.

    ``smooth`` 0: opposite edges are equal, x_0 = x_{n−1}. ``smooth`` 1: the step over the seam is
    the mean of the steps next to it, 3(x_0 − x_{n−1}) = x_1 − x_{n−2}. One linear equation a line,
    so what is wrong is taken away along it; the two axes commute.
    """

    affine = True

    def __init__(self, along: tuple[int, ...], smooth: int) -> None:
        self.along, self.smooth = along, smooth

    def project(self, x: Tensor) -> Tensor:
        for axis in self.along:
            x = self._closed(x.transpose(axis, -1)).transpose(axis, -1)
        return x

    def _closed(self, x: Tensor) -> Tensor:
        ends = {0: (1.0,), 1: (3.0, -1.0)}[self.smooth]
        normal = x.new_zeros(x.shape[-1])
        for i, weight in enumerate(ends):
            normal[i], normal[-1 - i] = weight, -weight
        wrong = (x * normal).sum(-1, keepdim=True)
        return x - wrong * (normal / normal.square().sum())


@register("symmetry")
@dataclass(frozen=True)
class Symmetry(Constraint):
    """``kind``: the same mirrored left to right (``"horizontal"``), top to bottom (``"vertical"``),
    ``"both"`` ways or at the ``"diagonal"``, or turned by a half (``"turn2"``) or a quarter
    (``"turn4"``).

    Raises:
        UserError: images that are not square where they are turned a quarter or mirrored at the
            diagonal.
    """

    kind: Kind = "horizontal"
    images: ClassVar = "images that look the same mirrored or turned"
    projection: ClassVar = "the mean of the image and its mirrored or turned copies"
    variants: ClassVar = tuple({"kind": kind} for kind in ("horizontal", "vertical", "both"))

    def fit(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> SymmetrySet:
        if self.kind in ("turn4", "diagonal") and shape[1] != shape[2]:
            raise UserError(
                f"The symmetry {self.kind!r} is one of square images, not of height {shape[1]} and"
                f" width {shape[2]}."
            )
        return SymmetrySet(self.kind)


@register("tiling")
@dataclass(frozen=True)
class Tiling(Constraint):
    """Images that can be laid side by side without a seam: left to right (``"columns"``), top to
    bottom (``"rows"``) or ``"both"``.

    ``smooth`` 0 makes opposite edges equal, 1 lets the slope go on over the seam.

    Raises:
        UserError: sides under 2·(smooth + 1) pixels.
    """

    sides: Literal["both", "rows", "columns"] = "both"
    smooth: Literal[0, 1] = 1
    images: ClassVar = "images that can be laid side by side without a seam"
    projection: ClassVar = "least squares on the pixels at the edges"
    variants: ClassVar = ({}, {"sides": "rows"}, {"sides": "columns", "smooth": 0}, {"smooth": 0})

    def fit(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> SeamSet:
        along = {"both": (-2, -1), "rows": (-2,), "columns": (-1,)}[self.sides]
        least = 2 * (self.smooth + 1)
        if any(shape[axis] < least for axis in along):
            raise UserError(
                f"A tiling needs sides of at least {least} pixels, not height {shape[1]} and width"
                f" {shape[2]}."
            )
        return SeamSet(along, self.smooth)
