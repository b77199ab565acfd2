"""What a run looks like while it goes on: x0 of the batch, in a terminal and in a file."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from rich.text import Text
from torch import Tensor
from torch.nn.functional import interpolate

from diffdescent.base.bars import Bars
from diffdescent.base.files import make_folder
from diffdescent.base.images import save_png, sheet, to_uint8

from .progress import Progress

EVERY = 0.4
"""Seconds between two previews, at least; the last evaluation of a batch is always shown."""
SIDE, GAP = 32, 1
"""The size of an image in a terminal, in characters across, and the gap between two."""
MOST = 16
"""A preview file shows at most this many images."""


class Preview:
    """Previews of a run below its progress bars, and in a PNG ``file``, written atomically.

    Latents and other data that are not pictures of 1 or 3 channels are not shown.
    """

    def __init__(self, bars: Bars, file: Path | None = None) -> None:
        self.bars, self.file = bars, file
        self._last = -EVERY

    def step(self, at: Progress) -> None:
        """After one evaluation."""
        now, last = time.monotonic(), at.index + 1 == at.nfe
        if at.x0.ndim != 4 or at.x0.shape[1] not in (1, 3):
            return
        if now - self._last < EVERY and not last:
            return
        self._last = now
        if self.file is not None:
            make_folder(self.file.parent)
            save_png(sheet(to_uint8(at.x0[:MOST])), self.file)
        if self.bars.console.is_terminal and not self.bars.disable:
            self.bars.picture = blocks(at.x0, self.bars.console.width)
            self.bars.refresh()


def blocks(images: Tensor, across: int) -> Text:
    """Images (n, C, H, W) in [−1, 1] side by side, as many as fit into ``across`` characters; each
    character is two pixels, one above the other."""
    side = min(SIDE, across)
    count = min(len(images), max(1, (across + GAP) // (side + GAP)))
    height = max(2, round(side * images.shape[2] / images.shape[3] / 2) * 2)
    small = images[:count].float()
    if small.shape[2:] != (height, side):
        small = interpolate(small, (height, side), mode="area")
    pixels = to_uint8(small)
    if pixels.shape[1] == 1:
        pixels = pixels.expand(-1, 3, -1, -1)
    text = Text()
    for row in range(0, height, 2):
        for number, image in enumerate(pixels):
            text.append(" " * (GAP if number else 0))
            for above, below in zip(image[:, row].T, image[:, row + 1].T, strict=True):
                text.append("▀", style=f"{_colour(above)} on {_colour(below)}")
        text.append("\n")
    return text


def _colour(pixel: Tensor) -> str:
    red, green, blue = torch.as_tensor(pixel).tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"
