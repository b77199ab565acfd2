"""Compressed sensing: inner products with random patterns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.noise import MEASUREMENT, integers, normals
from diffdescent.core.options import In

from .base import Operator, register
from .bound import Linear, Shape, cutoff, reciprocal

LARGEST = 1 << 26
"""Entries of the largest matrix that is made: half a gigabyte in float64."""


class Dense(Linear):
    """y = M x for a ``matrix`` M (m, n), float64, on the flattened image, or on each channel by
    itself where n is that of one channel."""

    has_svd = True
    has_pinv = True

    def __init__(
        self, in_shape: Shape, matrix: Tensor, dtype: torch.dtype, device: torch.device
    ) -> None:
        m, n = matrix.shape
        groups = math.prod(in_shape) // n
        super().__init__(in_shape, (m,) if groups == 1 else (groups, m), dtype, device)
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
        known = cutoff(s, dtype)
        self._groups, self._vh = groups, vh
        form = in_shape if groups == 1 else (1, *in_shape[1:])
        whole = torch.nn.functional.pad(known, (0, n - len(s)))
        self._singular = whole.view(form).to(device, dtype)
        self._matrix = matrix.to(device, dtype)
        self._pinv = (vh.T @ (reciprocal(known)[:, None] * u.T)).to(device, dtype)

    @property
    def singular(self) -> Tensor:
        return self._singular

    @cached_property
    def _v(self) -> Tensor:
        """All n directions, those of the null space too; made when they are asked for."""
        known = self._vh.T
        rest = torch.linalg.qr(known, mode="complete").Q[:, known.shape[1] :]
        return torch.cat((known, rest), dim=1).to(self.device, self.dtype)

    def forward(self, x: Tensor) -> Tensor:
        return self._times(self._matrix, x).view(-1, *self.out_shape)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._times(self._matrix.T, y).view(-1, *self.in_shape)

    def pinv(self, y: Tensor) -> Tensor:
        return self._times(self._pinv, y).view(-1, *self.in_shape)

    def to_spectral(self, x: Tensor) -> Tensor:
        return self._times(self._v.T, x).view(-1, *self.in_shape)

    def from_spectral(self, s: Tensor) -> Tensor:
        return self._times(self._v, s).view(-1, *self.in_shape)

    def _times(self, matrix: Tensor, x: Tensor) -> Tensor:
        """(B·groups, rows): each vector by itself, so that no number depends on the batch."""
        return torch.stack([matrix @ v for v in x.reshape(len(x) * self._groups, -1)])


@register("compressed_sensing")
@dataclass(frozen=True)
class CompressedSensing(Operator):
    """m = ``share``·n inner products with random patterns of the n numbers of an image.

    ``patterns``: ``"gaussian"`` entries N(0, 1/m) or ``"rademacher"`` ±1/√m, drawn from the seed.
    ``channels``: ``"together"`` measures the whole image, ``"apart"`` each channel with the same
    patterns.

    Raises:
        UserError: images whose matrix has more than 2²⁶ entries.
    """

    share: Annotated[float, In(0, 1, "(]", "0.25 measures a quarter")] = 0.25
    patterns: Literal["gaussian", "rademacher"] = "gaussian"
    channels: Literal["together", "apart"] = "together"
    variants: ClassVar = (
        {},
        {"patterns": "rademacher", "share": 0.5},
        {"channels": "apart", "share": 0.5},
    )

    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Dense:
        n = math.prod(shape if self.channels == "together" else shape[1:])
        m = max(1, round(self.share * n))
        if m * n > LARGEST:
            raise UserError(
                f"{m} patterns of {n} numbers make too large a matrix; measure a smaller share,"
                " smaller images, or channels=apart."
            )
        rows = torch.arange(m)
        if self.patterns == "gaussian":
            matrix = normals(seed, rows, (n,), MEASUREMENT, dtype=torch.float64)
        else:
            matrix = 1.0 - 2.0 * (integers(seed, rows, n, MEASUREMENT) & 1).double()
        return Dense(shape, matrix / math.sqrt(m), dtype, device)
