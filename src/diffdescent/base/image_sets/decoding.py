"""Image files as uint8 arrays, and many of one size as one tensor."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.images import eight_bits, open_image
from diffdescent.base.leniency import LENIENCY
from diffdescent.base.reading import reason

from .listing import SUFFIXES, Source

Pixels = npt.NDArray[np.uint8]


def decoded_images(
    path: Path,
    names: list[str],
    source: Source,
    skip_bad: bool,
    size: int | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[str, Pixels]]:
    """Each image of a source with its name, for :func:`~.reading.read_images`, whose arguments and
    errors these are; ``names`` are all that the source has.
    """
    some = False
    for count, (name, read) in enumerate(source):
        try:
            pixels = decode(read(), size)
        except MemoryError:
            raise
        except Exception as error:  # of damaged files Pillow raises anything, by their format
            if not (skip_bad or LENIENCY.skip_bad):
                raise UserError(
                    f"The image {name} in {path} cannot be decoded ({reason(error)}); replace or"
                    " remove it, or leave out such images with skip_bad=True (diffdescent"
                    " --skip-bad COMMAND …)."
                ) from error
            if str(path / name) not in LENIENCY.left_out:
                LENIENCY.left_out.append(str(path / name))
            continue
        if progress is not None and count % 1000 == 0:
            progress(count, len(names))
        some = True
        yield name, pixels
    if not some:
        raise UserError(
            f"{path} holds no readable image; expected files that end in"
            f" {', '.join(sorted(SUFFIXES))}."
        )
    if progress is not None:
        progress(len(names), len(names))


def decode(data: bytes, size: int | None) -> Pixels:
    """One image as uint8 (H, W, C): C = 1 for grey images, 3 for all others."""
    from PIL import Image

    if not data:
        raise ValueError("it is empty")
    with open_image(io.BytesIO(data)) as opened:
        image = eight_bits(opened)
        image = image if image.mode in ("L", "RGB") else image.convert("RGB")
        if size is not None:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.resize(
                (size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side)
            )
        pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def stack(
    path: Path, decoded: list[tuple[str, Pixels]], like: tuple[str, Pixels] | None = None
) -> torch.Tensor:
    """One tensor of images that are all of the size of ``like`` (None: the first of them).

    Raises :class:`UserError` for one of another size.
    """
    first_name, first = like or decoded[0]
    out = np.empty((len(decoded), first.shape[2], first.shape[0], first.shape[1]), np.uint8)
    for i, (name, pixels) in enumerate(decoded):
        if pixels.shape != first.shape:
            raise UserError(
                f"The images in {path} differ in size: {first_name} is {_describe(first)} but"
                f" {name} is {_describe(pixels)}; crop and resize them to one size first."
            )
        out[i] = pixels.transpose(2, 0, 1)
    return torch.from_numpy(out)


def _describe(pixels: Pixels) -> str:
    height, width, channels = pixels.shape
    return f"{width}×{height} with {channels} channel{'s' if channels > 1 else ''}"
