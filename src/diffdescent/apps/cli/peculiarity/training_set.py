"""The grey images of ``--data``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from diffdescent.base.errors import UserError
from diffdescent.base.hashes import arrays_hash
from diffdescent.base.image_sets import read_images


def content(training: npt.NDArray[np.uint8] | None) -> str | None:
    """What identifies a training set; None for none."""
    return None if training is None else arrays_hash(training)


def read_training_set(data: Path | None) -> npt.NDArray[np.uint8] | None:
    """The images (n, H, W), or None for no path. Raises :class:`UserError` for colour images."""
    if data is None:
        return None
    pages = read_images(data).images
    if pages.shape[1] != 1:
        raise UserError(f"{data} holds colour images; figures are grey.")
    return pages[:, 0].numpy()
