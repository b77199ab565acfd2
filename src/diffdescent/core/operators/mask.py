"""Masks: some pixels are known, the others are to be painted in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.images import read_image
from diffdescent.core.noise import MEASUREMENT, integers
from diffdescent.core.options import In

from .base import Operator, register
from .bound import Linear, Shape


class Masked(Linear):
    """y = m·x with a ``mask`` that broadcasts to (C, H, W): 1 where a pixel is known, 0 where not.

    It is its own pseudo-inverse, and its spectral coordinates are the pixels.

    Raises:
        UserError: a mask of another size, with other values, or of zeros alone.
    """

    has_svd = True
    has_pinv = True

    def __init__(
        self,
        in_shape: Shape,
        mask: Tensor,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(in_shape, in_shape, dtype, torch.device(device))
        try:
            whole = mask.expand(in_shape)
        except RuntimeError:
            raise UserError(
                f"The mask has shape {tuple(mask.shape)}, which does not fit images of shape"
                f" {tuple(in_shape)}; give one of height {in_shape[1]} and width {in_shape[2]}."
            ) from None
        if not bool(((whole == 0) | (whole == 1)).all()):
            raise UserError("A mask holds 1 where a pixel is known and 0 where it is not.")
        if not bool(whole.any()):
            raise UserError("The mask keeps no pixel, so there is nothing measured; keep some.")
        self._singular = whole.to(self.device, dtype)

    @property
    def singular(self) -> Tensor:
        return self._singular

    def forward(self, x: Tensor) -> Tensor:
        return x * self._singular

    def adjoint(self, y: Tensor) -> Tensor:
        return y * self._singular

    def pinv(self, y: Tensor) -> Tensor:
        return y * self._singular

    def to_spectral(self, x: Tensor) -> Tensor:
        return x

    def from_spectral(self, s: Tensor) -> Tensor:
        return s


@register("mask")
@dataclass(frozen=True)
class Mask(Operator):
    """Inpainting: what is hidden measures as 0.

    ``box`` hides the pixels of rows top … bottom − 1 and columns left … right − 1, given as [top,
    left, bottom, right]; ``share`` hides that part of all pixels, drawn at random; ``file`` is an
    image, white where pixels are known. Without any of the three the middle is hidden, half of each
    side. ``hides``: ``"inside"`` the box, or ``"outside"`` of it.

    Raises:
        UserError: more than one of the three, a box that does not fit, and a mask that leaves no
            pixel.
    """

    box: tuple[int, ...] = ()
    share: Annotated[float, In(0, 1, "[)", "0.9 leaves a tenth of the pixels")] = 0.0
    file: str = ""
    hides: Literal["inside", "outside"] = "inside"
    variants: ClassVar = (
        {},
        {"box": (0, 1, 3, 4), "hides": "outside"},
        {"share": 0.5},
    )

    def check_together(self) -> None:
        if bool(self.box) + bool(self.share) + bool(self.file) > 1:
            raise UserError("A mask takes one of box, share and file; leave the others out.")
        if self.box and len(self.box) != 4:
            raise UserError(
                f"The box of a mask is [top, left, bottom, right], not {list(self.box)}."
            )

    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Masked:
        if self.share:
            known = _scattered(self.share, shape, seed)
        elif self.file:
            known = read_image(Path(self.file), channels=1) >= 128
        else:
            known = self._outside_box(shape)
        if self.hides == "outside" and not self.share:
            known = ~known
        return Masked(shape, known, dtype, device)

    def _outside_box(self, shape: Shape) -> Tensor:
        _, height, width = shape
        middle = (height // 4, width // 4, height - height // 4, width - width // 4)
        top, left, bottom, right = self.box or middle
        if not (0 <= top < bottom <= height and 0 <= left < right <= width):
            raise UserError(
                f"The box {list(self.box)} does not fit images of height {height} and width"
                f" {width}; give [top, left, bottom, right] within them, top < bottom and left <"
                " right."
            )
        known = torch.ones(height, width, dtype=torch.bool)
        known[top:bottom, left:right] = False
        return known


def _scattered(share: float, shape: Shape, seed: int) -> Tensor:
    """Exactly round(share·HW) pixels hidden, the same in every channel."""
    _, height, width = shape
    drawn = integers(seed, torch.zeros(1, dtype=torch.int64), height * width, MEASUREMENT)
    order = drawn[0].argsort(stable=True)
    known = torch.ones(height * width, dtype=torch.bool)
    known[order[: round(share * height * width)]] = False
    return known.view(height, width)
