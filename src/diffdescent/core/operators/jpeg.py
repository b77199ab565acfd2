"""JPEG compression, and the images that compress to the same file.

ITU-T T.81: YCbCr (JFIF), blocks of 8 × 8, their cosine transform, each coefficient rounded to a
multiple of its step. The rounding of the decoded pixels to whole numbers is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.options import In
from diffdescent.core.spectrum.cosine import from_cosines, to_cosines

from .base import Operator, register
from .bound import Shape
from .colour import LUMA, at_pixels
from .nonlinear import Cells

_LUMA_STEPS = """
16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55
14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 62
18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92
49 64 78 87 103 121 120 101 72 92 95 98 112 100 103 99
"""
_CHROMA_STEPS = """
17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99
24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 99
99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99
99 99 99 99 99 99 99 99 99 99 99 99 99 99 99 99
"""
"""The example tables of the standard (annex K), which nearly every encoder scales."""

MIDDLE = 1 / 255
"""The brightness that is coded as zero: 128 of 0 … 255."""
Sampling = Literal["full", "half"]


class Compressed(Cells):
    """Compression with the tables of one ``quality``, and with colour at ``"full"`` or ``"half"``
    size.

    :meth:`project` moves each coefficient into its cell: the nearest image of grey images, and of
    colour images the nearest in the norm of YCbCr (colour of half size changes by whole 2 × 2
    blocks). It is exact: what it gives compresses to y.
    """

    def __init__(
        self,
        shape: Shape,
        quality: int,
        sampling: Sampling,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__(shape, shape, dtype, device)
        self.sampling = sampling
        luma, chroma = (steps(text, quality) for text in (_LUMA_STEPS, _CHROMA_STEPS))
        self._luma, self._chroma = luma.to(device, dtype), chroma.to(device, dtype)
        matrix = to_ycbcr()
        self._matrix = matrix.to(device, dtype)
        self._inverse = torch.linalg.inv(matrix).to(device, dtype)

    def forward(self, x: Tensor) -> Tensor:
        # Grey: the same shift of every channel.
        return self._decoded([c.round() for c in self._coefficients(x)]) + MIDDLE

    def project(self, x: Tensor, y: Tensor) -> Tensor:
        # A little inside the cells, so that rounding does not carry an edge to the next.
        half = 0.5 - 1e-3
        mine, measured = self._coefficients(x), self._coefficients(y)
        change = [
            torch.maximum(torch.minimum(c, m.round() + half), m.round() - half) - c
            for c, m in zip(mine, measured, strict=True)
        ]
        return x + self._decoded(change)

    def _coefficients(self, x: Tensor) -> list[Tensor]:
        """Coefficients in units of their steps: of brightness, and of colour where there is."""
        planes = at_pixels(self._matrix, x) if x.shape[1] == 3 else x
        luma, colour = planes[:, :1] - MIDDLE, planes[:, 1:]
        if x.shape[1] == 1:
            return [_blocks(luma) / self._luma]
        if self.sampling == "half":
            colour = torch.nn.functional.avg_pool2d(colour, 2)
        return [_blocks(luma) / self._luma, _blocks(colour) / self._chroma]

    def _decoded(self, coefficients: list[Tensor]) -> Tensor:
        """The image of these coefficients, less the middle."""
        luma = _joined(coefficients[0] * self._luma)
        if len(coefficients) == 1:
            return luma
        colour = _joined(coefficients[1] * self._chroma)
        if self.sampling == "half":
            colour = colour.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        return at_pixels(self._inverse, torch.cat((luma, colour), dim=1))


def steps(table: str, quality: int) -> Tensor:
    """The steps of an 8 × 8 table at a quality of 1 … 100, by the rule of the Independent JPEG
    Group, (8, 8) float64, for images in [−1, 1]."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    base = torch.tensor([int(word) for word in table.split()]).view(8, 8)
    return ((base * scale + 50) // 100).clamp(1, 255).double() / 127.5


def to_ycbcr() -> Tensor:
    """RGB to YCbCr (JFIF), (3, 3) float64, for images in [−1, 1]: zero stays zero."""
    luma = torch.tensor(LUMA, dtype=torch.float64)
    blue, red = torch.eye(3, dtype=torch.float64)[2], torch.eye(3, dtype=torch.float64)[0]
    return torch.stack((luma, (blue - luma) / (2 - 2 * LUMA[2]), (red - luma) / (2 - 2 * LUMA[0])))


def _blocks(planes: Tensor) -> Tensor:
    """The cosine transform of each block of (B, c, H, W): (B, c, H/8, W/8, 8, 8)."""
    b, c, h, w = planes.shape
    return to_cosines(planes.view(b, c, h // 8, 8, w // 8, 8).transpose(3, 4).contiguous())


def _joined(blocks: Tensor) -> Tensor:
    """The inverse of :func:`_blocks`."""
    b, c, rows, columns = blocks.shape[:4]
    return from_cosines(blocks).transpose(3, 4).reshape(b, c, rows * 8, columns * 8)


@register("jpeg")
@dataclass(frozen=True)
class Jpeg(Operator):
    """JPEG of a ``quality`` from 1 to 100; ``colour``: at ``"full"`` or ``"half"`` size.

    Raises:
        UserError: sides that are not multiples of 8 (16 with colour at half size), and for images
            that have neither one channel nor three.
    """

    quality: Annotated[int, In(1, 100, hint="10 is coarse, 95 is fine")] = 10
    colour: Sampling = "full"
    variants: ClassVar = ({}, {"quality": 75}, {"quality": 30, "colour": "half"})

    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Compressed:
        channels, height, width = shape
        if channels not in (1, 3):
            raise UserError(f"JPEG takes images of one channel or three, not {channels}.")
        block = 16 if self.colour == "half" and channels == 3 else 8
        if height % block or width % block:
            raise UserError(
                f"This JPEG works on blocks of {block} pixels, which do not fill images of height"
                f" {height} and width {width}; crop the images to multiples of {block}."
            )
        return Compressed(shape, self.quality, self.colour, dtype, device)
