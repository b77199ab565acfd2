"""Mixes of an image's channels: grey, and any other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.options import Filled

from .base import Operator, register
from .bound import Linear, Shape, cutoff, reciprocal

LUMA = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in brightness (ITU-R BT.601)."""


class Mixed(Linear):
    """y = M x at every pixel, with ``matrix`` M (channels of y, C), float64."""

    has_svd = True
    has_pinv = True

    def __init__(
        self, in_shape: Shape, matrix: Tensor, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(in_shape, (len(matrix), *in_shape[1:]), dtype, device)
        u, s, vh = torch.linalg.svd(matrix, full_matrices=True)
        known = cutoff(s, dtype)
        whole = torch.nn.functional.pad(known, (0, in_shape[0] - len(s)))
        inverse = vh[: len(s)].T @ (reciprocal(known)[:, None] * u[:, : len(s)].T)
        self._singular = whole.view(-1, 1, 1).to(device, dtype)
        self._matrix, self._inverse = matrix.to(device, dtype), inverse.to(device, dtype)
        self._v = vh.T.to(device, dtype)

    @property
    def singular(self) -> Tensor:
        return self._singular

    def forward(self, x: Tensor) -> Tensor:
        return at_pixels(self._matrix, x)

    def adjoint(self, y: Tensor) -> Tensor:
        return at_pixels(self._matrix.T, y)

    def pinv(self, y: Tensor) -> Tensor:
        return at_pixels(self._inverse, y)

    def to_spectral(self, x: Tensor) -> Tensor:
        return at_pixels(self._v.T, x)

    def from_spectral(self, s: Tensor) -> Tensor:
        return at_pixels(self._v, s)


def at_pixels(matrix: Tensor, x: Tensor) -> Tensor:
    """Σ_c M_dc x_c for images (B, C, H, W), one channel after the other."""
    mixed = (matrix[:, :, None, None] * x[:, None]).sum(2)
    return mixed


@register("gray")
@dataclass(frozen=True)
class Gray(Operator):
    """Colour to grey, one channel. ``weights``: ``"luma"`` (ITU-R BT.601: .299, .587, .114) or
    ``"mean"``.

    Raises:
        UserError: luma of images that are not of three channels.
    """

    weights: Literal["luma", "mean"] = "luma"
    variants: ClassVar = ({}, {"weights": "mean"})

    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Mixed:
        channels = shape[0]
        if self.weights == "luma" and channels != 3:
            raise UserError(
                f"The luma of an image needs its three channels, not {channels}; take"
                " weights=mean for other images."
            )
        row = LUMA if self.weights == "luma" else [1 / channels] * channels
        return Mixed(shape, torch.tensor([row], dtype=torch.float64), dtype, device)


@register("mix")
@dataclass(frozen=True)
class Mix(Operator):
    """Each channel of y is a weighted sum of the image's: ``matrix`` has a row for each.

    Raises:
        UserError: rows of another length than the image has channels, and for a matrix of zeros.
    """

    matrix: Annotated[tuple[tuple[float, ...], ...], Filled("give a row a channel of y")] = (
        (0.5, 0.5, 0.0),
        (0.0, 0.5, 0.5),
    )
    variants: ClassVar = (
        {},
        {"matrix": ((1.0, 0.0, 0.2), (0.0, 1.0, 0.1), (0.3, 0.0, 1.0))},
        {"matrix": ((1.0, 1.0, 0.0), (2.0, 2.0, 0.0))},
    )

    def check_together(self) -> None:
        if not any(any(row) for row in self.matrix):
            raise UserError("A mix of zeros measures nothing; give some channel a weight.")

    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Mixed:
        if any(len(row) != shape[0] for row in self.matrix):
            raise UserError(
                f"Each row of a mix needs {shape[0]} weights, one a channel of the image, not"
                f" {max(self.matrix, key=lambda row: len(row) != shape[0])}."
            )
        return Mixed(shape, torch.tensor(self.matrix, dtype=torch.float64), dtype, device)
