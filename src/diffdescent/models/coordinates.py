"""Orthonormal coordinates in which a mixture's covariances are written.

Natural images are nearly uncorrelated in cosine coordinates (their covariance is close to
shift-invariant), so that a diagonal there says what would take thousands of factors in pixels.
Distances, noise and the diffusion itself do not change under a rotation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from diffdescent.base.errors import UserError


class Coordinates(Protocol):
    """A rotation of flattened samples: ``decode`` is the inverse and the transpose of ``encode``.
    Rows in, rows out."""

    def encode(self, x: Tensor) -> Tensor: ...
    def decode(self, y: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Pixels:
    """The samples' own coordinates."""

    def encode(self, x: Tensor) -> Tensor:
        return x

    def decode(self, y: Tensor) -> Tensor:
        return y


@lru_cache(maxsize=32)
def _cosine_matrix(n: int, device: torch.device) -> Tensor:
    """The orthonormal DCT-II matrix (n, n), float64: rows are frequencies."""
    k = torch.arange(n, dtype=torch.float64)
    matrix = torch.cos(math.pi * (k + 0.5) * k[:, None] / n) * math.sqrt(2 / n)
    matrix[0] *= math.sqrt(0.5)
    return matrix.to(device)


@lru_cache(maxsize=8)
def _opponent_matrix(channels: int, device: torch.device) -> Tensor:
    """Orthonormal colours: for RGB the mean, red − blue and green − (red + blue)/2; otherwise the
    identity."""
    if channels != 3:
        return torch.eye(channels, dtype=torch.float64, device=device)
    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 2.0, -1.0]], dtype=torch.float64)
    return torch.nn.functional.normalize(rows, dim=1).to(device)


class Cosine:
    """The two-dimensional cosine transform (DCT-II) of opponent colours, coefficients put in a
    given order.

    ``shape`` is (C, H, W); ``order`` (C·H·W,) int64 is a permutation of the flattened coefficients,
    None for none.

    Raises :class:`UserError` for a shape that is not (C, H, W) or an order that is not a
    permutation.
    """

    def __init__(self, shape: tuple[int, ...], order: Tensor | None = None) -> None:
        if len(shape) != 3:
            raise UserError(f"Cosine coordinates need samples of shape (C, H, W), not {shape}.")
        self.shape = shape
        self.order = torch.arange(math.prod(shape)) if order is None else order.long().cpu()
        if not torch.equal(self.order.sort().values, torch.arange(math.prod(shape))):
            raise UserError(
                f"The order of the coordinates must be a permutation of 0 … {math.prod(shape) - 1}."
            )
        self._inverse = self.order.argsort()

    def _matrices(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        c, h, w = self.shape
        return (
            _opponent_matrix(c, x.device),
            _cosine_matrix(h, x.device),
            _cosine_matrix(w, x.device),
        )

    def encode(self, x: Tensor) -> Tensor:
        colour, rows, columns = self._matrices(x)
        y = rows @ x.reshape(-1, *self.shape) @ columns.T
        return torch.einsum("dc,bchw->bdhw", colour, y).flatten(1)[:, self.order.to(x.device)]

    def decode(self, y: Tensor) -> Tensor:
        colour, rows, columns = self._matrices(y)
        x = y[:, self._inverse.to(y.device)].reshape(-1, *self.shape)
        z: Tensor = rows.T @ torch.einsum("dc,bdhw->bchw", colour, x) @ columns
        return z.flatten(1)
