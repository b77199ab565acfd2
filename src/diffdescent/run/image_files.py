"""Images that steer a run, from files."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from diffdescent.base.image_sets import read_images
from diffdescent.base.images import from_uint8, read_image


def read_init(path: Path, channels: int) -> Tensor:
    """The images to start from, (n, C, H, W) in [−1, 1]: one file, or a folder, zip or npz.

    Raises :class:`UserError` for files that are missing or damaged.
    """
    if path.is_dir() or path.suffix.lower() in (".zip", ".npz"):
        return from_uint8(read_images(path).images)
    return from_uint8(read_image(path, channels))[None]


def read_mask(path: Path) -> Tensor:
    """A mask, (1, H, W): 1 where the picture is lighter than half, 0 elsewhere.

    Raises :class:`UserError` for a file that is missing or damaged.
    """
    return read_image(path, channels=1).float().div(255).round()
