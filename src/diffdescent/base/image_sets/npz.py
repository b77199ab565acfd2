"""Images and labels from the arrays of an npz."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.npz import load_arrays

from .image_set import ImageSet

MOST_CLASSES = 1 << 20


def read_npz(path: Path, size: int | None, progress: Callable[[int, int], None] | None) -> ImageSet:
    """The images and labels of an npz; arguments and errors are those of
    :func:`~.reading.read_images`."""
    arrays = load_arrays(path, ("arr_0", "arr_1", "images", "labels"))
    images = arrays.get("arr_0", arrays.get("images"))
    if images is None:
        raise UserError(
            f"{path} has no array 'arr_0' or 'images'; expected uint8 images of shape (n, H, W, C)"
            " under one of them."
        )
    if images.dtype != np.uint8:
        raise UserError(
            f"The images in {path} are {images.dtype}; expected uint8 values 0..255: scale and"
            " convert them first."
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise UserError(
            f"The images in {path} have shape {images.shape}; expected (n, H, W, C) with C of 1 or"
            " 3, or (n, H, W)."
        )
    if not images.size:
        raise UserError(f"{path} holds no image: its array has shape {images.shape}.")
    if size is not None and images.shape[1:3] != (size, size):
        raise UserError(
            f"The images in {path} are {images.shape[2]}×{images.shape[1]}; expected {size}×{size}:"
            " resize them first."
        )
    labels = arrays.get("arr_1", arrays.get("labels"))
    if progress is not None:
        progress(len(images), len(images))
    names = [f"{path.name}[{i}]" for i in range(len(images))]
    tensor = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return ImageSet(
        tensor, None if labels is None else _npz_labels(path, labels, len(images)), None, names
    )


def _npz_labels(path: Path, labels: npt.NDArray[np.generic], count: int) -> torch.Tensor:
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"The labels in {path} are {labels.dtype}; expected integers 0..K-1.")
    if labels.shape != (count,):
        raise UserError(
            f"{path} has labels of shape {labels.shape} for {count} images; expected one label per"
            f" image, shape ({count},)."
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= MOST_CLASSES:
        raise UserError(
            f"The labels in {path} go down to {low} and up to {high}; expected integers 0..K-1, at"
            f" most {MOST_CLASSES - 1}."
        )
    return torch.from_numpy(labels.astype(np.int64))
