"""What the power spectrum of images says of their covariance C."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.operators import Linear
from diffdescent.core.spectrum.power import Spectrum
from diffdescent.core.spectrum.rows import from_axes, to_axes

EXACT = 2**14
"""Images of at most this many numbers are summed over exactly."""
_AT_ONCE, _PROBES = 256, 512


@lru_cache(maxsize=8)
def direction_variances(spectrum: Spectrum, operator: Linear) -> Tensor:
    """diag(Vᵀ C V) for images of covariance C, which ``spectrum`` gives, and the ``operator``'s
    V: the variance along each of its directions, broadcasting to ``in_shape``.

    Exact up to :data:`EXACT` numbers an image; beyond, the mean over 512 random signs, whose
    standard error is 6 %, and none where C is diagonal in these directions (a mirrored blur).

    Raises:
        UserError: images that are not (C, H, W), or of other channels.
    """
    if spectrum.white:
        return torch.tensor(spectrum.power[0][0], dtype=operator.dtype, device=operator.device)
    shape = operator.in_shape
    root = _power(spectrum, shape, operator.dtype, operator.device).sqrt()
    size = math.prod(shape)
    total = torch.zeros(shape, dtype=operator.dtype, device=operator.device)
    for first in range(0, size if size <= EXACT else _PROBES, _AT_ONCE):
        if size <= EXACT:
            count = min(_AT_ONCE, size - first)
            units = torch.zeros(count, size, dtype=root.dtype, device=root.device)
            units[range(count), range(first, first + count)] = 1
        else:
            drawn = torch.Generator().manual_seed(first)
            units = torch.randint(2, (_AT_ONCE, size), generator=drawn).to(root) * 2 - 1
        images = from_axes(units.view(-1, *shape) * root, spectrum.axes.tensor(root), spectrum.axes)
        total += operator.to_spectral(images).square().sum(0)
    return total if size <= EXACT else total / _PROBES


def estimated_covariance(spectrum: Spectrum, ratio: float, v: Tensor) -> Tensor:
    """Cov[x0 | x_t] v = (C⁻¹ + σ̃⁻²)⁻¹ v for images (B, C, H, W) at σ̃ = ``ratio``, which is diagonal
    in the cosine coefficients as C is."""
    power = _power(spectrum, tuple(v.shape[1:]), v.dtype, v.device)
    matrix = spectrum.axes.tensor(v)
    kept = to_axes(v, matrix, spectrum.axes) / (1 / power + ratio**-2)
    return from_axes(kept, matrix, spectrum.axes)


@lru_cache(maxsize=8)
def _power(
    spectrum: Spectrum, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> Tensor:
    """S of each cosine coefficient, of the images' shape."""
    if len(shape) != 3:
        raise UserError(f"A power spectrum is that of images (C, H, W), not of {shape}.")
    channels, height, width = shape
    return torch.from_numpy(spectrum.over((channels, height, width))).to(device, dtype)
