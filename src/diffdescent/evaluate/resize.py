"""How images are brought to a network's size: by name, because scores depend on it (Parmar et al.
2022)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from diffdescent.base.errors import unknown

RESIZES = {
    "clean": "bicubic with antialiasing, in float, each channel alone, cut to 0 … 255 (clean-fid)",
    "legacy": "bilinear without antialiasing, half-pixel centres (pytorch-fid)",
}
"""Resize protocols: name → what it does."""


def check_resize(name: str) -> None:
    """Raises :class:`UserError` for a name that is not a resize protocol."""
    if name not in RESIZES:
        raise unknown("resize protocol", name, RESIZES)


def resize(images: Tensor, size: tuple[int, int], name: str) -> Tensor:
    """uint8 (n, C, H, W) → float32 (n, C, \\*size), 0 … 255 and not rounded; images of that size
    stay as they are.

    Raises :class:`UserError` for an unknown ``name``.
    """
    check_resize(name)
    if tuple(images.shape[2:]) == size:
        return images.float()
    if name == "legacy":
        return F.interpolate(
            images.float(), size=size, mode="bilinear", align_corners=False, antialias=False
        )
    return _bicubic(images, size)


def _bicubic(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Pillow's resize, whose filter widens when an image shrinks, in 32-bit float."""
    from PIL import Image

    out = np.empty((*images.shape[:2], *size), np.float32)
    for i, image in enumerate(images.float().numpy()):
        for c, channel in enumerate(image):
            out[i, c] = np.asarray(
                Image.fromarray(channel).resize(size[::-1], Image.Resampling.BICUBIC)
            )
    return torch.from_numpy(out).clamp_(0, 255)
