"""Reading a folder, a zip or an npz: all of it at once, or a batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from .decoding import decoded_images, stack
from .image_set import ImageSet
from .listing import labels_of, listing
from .npz import read_npz


def read_images(
    path: str | Path,
    *,
    skip_bad: bool = False,
    size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImageSet:
    """Read every image of a folder, a zip or an npz.

    Args:
        path: the folder, ``.zip`` or ``.npz``.
        skip_bad: leave out images that cannot be decoded instead of stopping at the first one.
        size: crop each image to its central square and resize it to ``size`` × ``size`` pixels;
            None keeps images as they are, and then all of them must have one size. An npz must
            already have this size.
        progress: called with (images read, images in all) now and then, and once at the end.

    Raises:
        UserError: no such file, no image in it, images of different sizes, an image that cannot be
            decoded, an array of the wrong type or shape, or labels that do not match the images.
    """
    path = Path(path)
    if path.suffix.lower() == ".npz" and path.is_file():
        return read_npz(path, size, progress)
    names, source = listing(path)
    decoded = list(decoded_images(path, names, source, skip_bad, size, progress))
    kept = [name for name, _ in decoded]
    labels, classes = labels_of(kept)
    return ImageSet(stack(path, decoded), labels, classes, kept)


def stream_images(
    path: str | Path, *, batch: int = 256, progress: Callable[[int, int], None] | None = None
) -> Iterator[torch.Tensor]:
    """The images of a folder or zip in the same order, ``batch`` of them in memory at a time, uint8
    (n, C, H, W).

    An npz is one array and is read whole. Raises :class:`UserError` as :func:`read_images` does,
    when it comes to it.
    """
    path = Path(path)
    if path.suffix.lower() == ".npz" and path.is_file():
        yield from torch.split(read_npz(path, None, progress).images, batch)
        return
    names, source = listing(path)
    found = decoded_images(path, names, source, False, None, progress)
    first = next(found)
    waiting = [first]
    for item in found:
        if len(waiting) == batch:
            yield stack(path, waiting, first)
            waiting = []
        waiting.append(item)
    yield stack(path, waiting, first)
