"""The orthonormal two-dimensional discrete cosine transform (DCT-II) over the last two axes.

X_k = s_k Σ_i x_i cos(π(2i + 1)k/2n) with s_0 = √(1/n) and s_k = √(2/n) otherwise, along each axis
(Ahmed, Natarajan and Rao 1974). Orthonormal: norms and inner products are kept, the inverse is the
transpose, and unit noise stays unit noise. Small sides are multiplied by the matrix, large ones go
through a Fourier transform of the same length (Makhoul 1980).
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

LARGEST_MATRIX = 256
"""Sides up to this are transformed by their matrix: at 256 it takes as long as the Fourier way."""


@lru_cache(maxsize=32)
def cosine_matrix(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The (n, n) matrix whose rows are the cosines of frequency 0 … n − 1; computed in float64."""
    place = torch.arange(n, dtype=torch.float64)
    rows = torch.cos(math.pi / (2 * n) * torch.outer(place, 2 * place + 1)) * math.sqrt(2 / n)
    rows[0] = math.sqrt(1 / n)
    return rows.to(dtype).to(device)


def to_cosines(x: Tensor) -> Tensor:
    """The transform of ``x`` (…, H, W), same shape and dtype (float32 or float64)."""
    return _along(_along(x, 2, inverse=False), 1, inverse=False)


def from_cosines(x: Tensor) -> Tensor:
    """The inverse of :func:`to_cosines`."""
    return _along(_along(x, 2, inverse=True), 1, inverse=True)


def _along(x: Tensor, axis: int, inverse: bool) -> Tensor:
    """The transform along one axis of ``x`` (…, H, W), counted from the end."""
    n = x.shape[-axis]
    if n > LARGEST_MATRIX:
        turned = x.transpose(-1, -axis)
        return (_inverse_fourier if inverse else _fourier)(turned).transpose(-1, -axis)
    matrix = cosine_matrix(n, x.dtype, x.device)
    flat = x.reshape(-1, *x.shape[-2:])
    # One small product for each image and channel, all alike: no number depends on the batch.
    rows = (matrix.T if inverse else matrix).expand(len(flat), n, n)
    made = torch.bmm(rows, flat) if axis == 2 else torch.bmm(flat, rows.transpose(1, 2))
    return made.reshape(x.shape)


@lru_cache(maxsize=32)
def _turns(n: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """s_k·exp(−iπk/2n), (n,), of the complex type that goes with ``dtype``."""
    k = torch.arange(n, dtype=torch.float64)
    size = torch.full((n,), math.sqrt(2 / n), dtype=torch.float64)
    size[0] = math.sqrt(1 / n)
    return torch.polar(size, -math.pi / (2 * n) * k).to(dtype.to_complex()).to(device)


def _fourier(x: Tensor) -> Tensor:
    """The DCT of the last axis: the even places, then the odd ones backwards, have the Fourier
    transform of which the turned real part is the DCT."""
    order = torch.cat([x[..., ::2], x[..., 1::2].flip(-1)], dim=-1)
    turned: Tensor = torch.fft.fft(order) * _turns(x.shape[-1], x.dtype, x.device)
    return turned.real


def _inverse_fourier(x: Tensor) -> Tensor:
    """The inverse: V_k = (X_k − i X_{n−k})·exp(iπk/2n) without the scale is the Fourier transform
    of the reordered values."""
    n = x.shape[-1]
    turns = _turns(n, x.dtype, x.device)
    unscaled = x / turns.abs()
    mirrored = torch.cat([torch.zeros_like(x[..., :1]), unscaled[..., 1:].flip(-1)], dim=-1)
    values = torch.fft.ifft(torch.complex(unscaled, -mirrored) * (turns / turns.abs()).conj()).real
    out = torch.empty_like(x)
    half = (n + 1) // 2
    out[..., ::2] = values[..., :half]
    out[..., 1::2] = values[..., half:].flip(-1)
    return out
