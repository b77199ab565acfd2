"""Images as an exact denoiser, within a given memory."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import Path

import torch

from diffdescent.base.archives import read_member
from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.base.image_sets import SUFFIXES, read_images
from diffdescent.base.images import open_image, read_image
from diffdescent.base.npz import read_header
from diffdescent.core.process import VP
from diffdescent.models.dataset import CHUNK_BYTES, Dataset

INTERPRETER_BYTES = 700 * 2**20
"""What Python and PyTorch take before any image is read, with a margin."""


def image_count(path: Path) -> tuple[int, int] | None:
    """How many images there are and the bytes of one as uint8, without reading them; None where
    that is not known."""
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
        return (len(found), math.prod(read_image(found[0]).shape)) if found else None
    if not path.is_file() or not zipfile.is_zipfile(path):
        return None
    try:
        return _count_in_zip(path)
    except Exception:
        return None  # damaged: reading it says which part


def _count_in_zip(path: Path) -> tuple[int, int] | None:
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if Path(n).suffix.lower() in SUFFIXES]
        if names:
            with open_image(io.BytesIO(read_member(archive, names[0]))) as picture:
                return len(names), picture.width * picture.height * 3
        for member in ("arr_0.npy", "images.npy"):
            if member in archive.namelist():
                with archive.open(member) as file:
                    shape, _ = read_header(file)
                return (shape[0], math.prod(shape[1:])) if shape else None
    return None


def read_set(
    path: Path,
    *,
    limit: int | None = None,
    memory: float = 2.0,
    rows: int = 64,
    device: str = "cpu",
) -> Dataset:
    """The images of a folder, zip or npz as an exact denoiser, whose chunks leave the process
    within ``memory`` GiB.

    ``rows`` is how many states are evaluated at once; ``limit`` keeps that many images, evenly
    spread over the set. Raises :class:`UserError` where the images alone (twice, while they are
    read) do not fit.
    """
    size = image_count(path)
    room = memory * 2**30 - INTERPRETER_BYTES
    if size is not None:
        count, each = size
        if 2 * count * each > room:
            fits = max(int((room / 2) // each), 0)
            needed = (2 * count * each + INTERPRETER_BYTES) / 2**30
            raise UserError(
                f"{path} holds {count} images of {each} bytes; reading them takes {needed:.2f} GiB"
                f" and --memory allows {memory:g}: raise it, or give a set of at most {fits}"
                " images."
            )
        room -= count * each
    found = read_images(path)
    images, labels = found.images, found.labels
    if limit is not None and limit < 1:
        raise UserError(f"--limit must be at least 1, not {limit}.")
    if limit is not None and limit < len(images):
        index = torch.linspace(0, len(images) - 1, limit).round().long()
        images, labels = images[index], None if labels is None else labels[index]
    numel = math.prod(images.shape[1:])
    # A chunk lives as float64 twice (its square too), in addition to about eight arrays of the
    # size of the batch.
    bytes_left = room - 8 * rows * numel * 8
    chunk = int(min(CHUNK_BYTES, max(bytes_left, 0) / 4) // (8 * numel))
    if chunk < 1:
        raise UserError(
            f"{rows} states of {numel} numbers leave no room for a chunk of the set within"
            f" {memory:g} GiB; raise --memory or lower --batch-size."
        )
    return Dataset(
        images,
        VP.named(),
        labels=labels,
        classes=found.classes,
        chunk=chunk,
        name=f"images:{path}",
        device=pick_device(device),
    )
