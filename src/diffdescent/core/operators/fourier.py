"""Operators that are one factor for each spatial frequency: circular blurs, sub-sampled Fourier
measurements.

Their directions V are those of the Hartley transform, cas(2π(ui/H + vj/W))/√HW with cas = cos + sin
(Hartley 1942): real, orthogonal and its own inverse. A direction of frequency ω mixes only with
that of −ω, where |k̂| is the same for a real kernel k, so AᵀA = V |k̂|² Vᵀ for every circular
convolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from diffdescent.core.noise import MEASUREMENT, integers
from diffdescent.core.options import In

from .base import Operator, register
from .bound import Linear, Shape, cutoff, reciprocal


def hartley(x: Tensor) -> Tensor:
    """The orthonormal Hartley transform of the last two axes, (…, H, W), its own inverse."""
    f = torch.fft.fft2(x, norm="ortho")
    made: Tensor = f.real - f.imag
    return made


class Circular(Linear):
    """The circular convolution of every channel with a ``kernel`` (H, W), float64, whose middle is
    at (0, 0)."""

    has_svd = True
    has_pinv = True

    def __init__(
        self, in_shape: Shape, kernel: Tensor, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(in_shape, in_shape, dtype, device)
        response = torch.fft.fft2(kernel)
        known = cutoff(response.abs(), dtype)
        inverse = response.conj() * reciprocal(known).square()
        half = kernel.shape[1] // 2 + 1
        self._singular = known.to(device, dtype)
        self._response = response[:, :half].to(device, dtype.to_complex())
        self._inverse = inverse[:, :half].to(device, dtype.to_complex())

    @property
    def singular(self) -> Tensor:
        return self._singular

    def forward(self, x: Tensor) -> Tensor:
        return self._filtered(x, self._response)

    def adjoint(self, y: Tensor) -> Tensor:
        return self._filtered(y, self._response.conj())

    def pinv(self, y: Tensor) -> Tensor:
        return self._filtered(y, self._inverse)

    def to_spectral(self, x: Tensor) -> Tensor:
        return hartley(x)

    def from_spectral(self, s: Tensor) -> Tensor:
        return hartley(s)

    def _filtered(self, x: Tensor, response: Tensor) -> Tensor:
        made: Tensor = torch.fft.irfft2(torch.fft.rfft2(x) * response, s=x.shape[-2:])
        return made


class Frequencies(Linear):
    """Some Hartley coefficients of every channel: y = m·Hx, with a ``mask`` (H, W) that is 1 at ω
    where it is at −ω.

    Both together are the complex Fourier coefficient at ω, so this is a real image's sub-sampled
    Fourier transform, written in real numbers: Re and Im are (y(ω) + y(−ω))/2 and (y(−ω) − y(ω))/2.
    """

    has_svd = True
    has_pinv = True

    def __init__(
        self, in_shape: Shape, mask: Tensor, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__(in_shape, in_shape, dtype, device)
        self._singular = mask.to(device, dtype)

    @property
    def singular(self) -> Tensor:
        return self._singular

    def forward(self, x: Tensor) -> Tensor:
        return hartley(x) * self._singular

    def adjoint(self, y: Tensor) -> Tensor:
        return hartley(y * self._singular)

    def pinv(self, y: Tensor) -> Tensor:
        return self.adjoint(y)

    def to_spectral(self, x: Tensor) -> Tensor:
        return hartley(x)

    def from_spectral(self, s: Tensor) -> Tensor:
        return hartley(s)


@register("fourier")
@dataclass(frozen=True)
class Fourier(Operator):
    """Sub-sampled Fourier measurements, as in magnetic resonance imaging: about ``share`` of the
    frequencies, drawn at random in pairs ±ω, and all those below ``centre`` of the highest one.

    ``pattern``: ``"lines"`` draws whole lines of one vertical frequency, ``"points"`` single
    frequencies. What is not measured is 0 in y, which has the shape of the image.
    """

    share: Annotated[float, In(0, 1, "(]", "the part of the frequencies that is measured")] = 0.25
    centre: Annotated[float, In(0, 1, hint="the part of low frequencies kept")] = 0.08
    pattern: Literal["lines", "points"] = "lines"
    variants: ClassVar = ({}, {"share": 0.5, "pattern": "points"}, {"share": 1.0})

    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Frequencies:
        _, height, width = shape
        mask = self.mask(height, 1 if self.pattern == "lines" else width, seed)
        return Frequencies(shape, mask.expand(height, width), dtype, device)

    def mask(self, height: int, width: int, seed: int) -> Tensor:
        """1 at the frequencies that are measured, (height, width), float64."""
        rows, columns = _frequencies(height), _frequencies(width)
        low = (rows[:, None] <= self.centre) & (columns <= self.centre)
        drawn = integers(seed, torch.zeros(1, dtype=torch.int64), height * width, MEASUREMENT)
        order = drawn.view(height, width)
        mirrored = order.flip(0, 1).roll((1, 1), (0, 1))
        order = torch.minimum(order, mirrored).masked_fill(low, -1)  # ω and −ω come together
        wanted = max(int(low.sum()), round(self.share * height * width))
        last = order.flatten().sort().values[wanted - 1]
        return (order <= last).double()


def _frequencies(n: int) -> Tensor:
    """|ω| of each coefficient along an axis of ``n`` pixels, as a part of the highest one."""
    k = torch.arange(n, dtype=torch.float64)
    return torch.minimum(k, n - k) / max(1, n // 2)
