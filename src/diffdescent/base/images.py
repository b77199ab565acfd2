"""Images in and out: tensors in [−1, 1] to 8-bit PNG files, sheets and strips. Needs Pillow (extra
``cli``)."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from .errors import UserError
from .files import make_folder, write_atomically
from .reading import reason, require_file

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is read as an image, whatever its name: Pillow knows formats that start other programs."""
MOST_PIXELS = 64 << 20
"""An image of more pixels is refused before it is decoded: 8192 × 8192."""


def to_uint8(images: Tensor) -> Tensor:
    """[−1, 1] → 0 … 255, rounded half to even, clamped; (…, C, H, W) uint8 on the CPU."""
    return images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def from_uint8(images: Tensor) -> Tensor:
    """0 … 255 → [−1, 1], float32."""
    return images.float().div(127.5).sub(1)


def picture(image: Tensor) -> Any:
    """One (C, H, W) uint8 image as Pillow's. Raises :class:`UserError` unless C is 1 or 3."""
    from PIL import Image

    array = image.permute(1, 2, 0).numpy()
    if array.shape[2] not in (1, 3):
        raise UserError(
            f"Only images with 1 or 3 channels can be written as PNG, not {array.shape[2]}."
        )
    return Image.fromarray(np.ascontiguousarray(array[:, :, 0] if array.shape[2] == 1 else array))


def save_figure(figure: Any, path: Path, dpi: int = 150) -> None:
    """Write a matplotlib figure in the format of the path's suffix, atomically.

    Raises :class:`UserError` for a format that matplotlib does not know and a place that cannot be
    written.
    """
    buffer = io.BytesIO()
    plain_texts(figure)
    try:
        figure.savefig(buffer, dpi=dpi, format=path.suffix.lstrip(".").lower() or "png")
    except ValueError:
        raise UserError(
            f"Cannot draw a {path.suffix!r} file; end {path} in .png, .pdf or .svg."
        ) from None
    make_folder(path.parent)
    write_atomically(path, buffer.getvalue())


def plain_texts(figure: Any) -> None:
    """Show the texts of a figure as they are: a title or a path with "$" in it is not a formula.

    The numbers at an axis, which matplotlib writes as formulas, stay.
    """
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter

    numbers = {
        id(label)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for which in ("major", "minor")
        if not isinstance(getattr(axis, which).formatter, FixedFormatter)
        for label in axis.get_ticklabels(which=which)
    }
    for text in figure.findobj(Text):
        if id(text) not in numbers:
            text.set_parse_math(False)


def png_bytes(image: Tensor, optimize: bool = False) -> bytes:
    """One (C, H, W) uint8 image as the bytes of a PNG file, with ``optimize`` a smaller one."""
    buffer = io.BytesIO()
    picture(image).save(buffer, format="PNG", optimize=optimize)
    return buffer.getvalue()


def save_png(image: Tensor, path: Path) -> None:
    """Write one (C, H, W) uint8 image, atomically."""
    write_atomically(path, png_bytes(image))


@contextlib.contextmanager
def open_image(file: Path | BinaryIO) -> Iterator[Any]:
    """A Pillow image of one of the :data:`FORMATS`, opened and not yet decoded.

    Raises :class:`ValueError` for a file that is not an image, and for one of more than
    :data:`MOST_PIXELS`.
    """
    from PIL import Image, UnidentifiedImageError

    with warnings.catch_warnings():
        # Pillow's own limits are higher, and one of them only warns.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            opened = Image.open(file, formats=FORMATS)
        except Image.DecompressionBombError:
            raise ValueError(_too_large("far more")) from None
        except UnidentifiedImageError:
            raise ValueError("it is not an image") from None
    with opened:
        pixels = opened.width * opened.height
        if pixels > MOST_PIXELS:
            raise ValueError(_too_large(f"{opened.width}×{opened.height}"))
        yield opened


def _too_large(found: str) -> str:
    return (
        f"it has {found} pixels, and {MOST_PIXELS >> 20} megapixels are the most; make it smaller"
    )


def eight_bits(image: Any) -> Any:
    """A Pillow image with 8 bits a channel, turned as its EXIF data say: numbers of 16 bits are
    scaled, where Pillow cuts them off at 255.

    Raises :class:`ValueError` for numbers of 32 bits, whose range nobody knows.
    """
    from PIL import Image

    turned = _turned(image)
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("it holds numbers of 32 bits; save it with 8 bits a channel")
    plain = image.convert("RGBA") if "transparency" in image.info else image
    return plain if turned is None else plain.transpose(turned)


def _turned(image: Any) -> Any:
    """How an image is turned to be seen upright, None for not at all: cameras save what their
    sensor saw, and note how it lay."""
    from PIL import ExifTags
    from PIL.Image import Transpose

    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except MemoryError:
        raise
    except Exception:  # a damaged note is none
        return None
    ways = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return ways.get(orientation) if isinstance(orientation, int) else None


def read_image(path: Path, channels: int = 3) -> Tensor:
    """One image file as (channels, H, W) uint8, grey for 1 channel and RGB for 3 whatever the file
    holds.

    Raises :class:`UserError` for a file that is missing, damaged or not an image.
    """
    require_file(path, "image")
    try:
        with open_image(path) as picture:
            array = np.asarray(eight_bits(picture).convert("L" if channels == 1 else "RGB"))
    except MemoryError:
        raise
    except Exception as error:  # of damaged files Pillow raises anything, by their format
        raise UserError(
            f"The image {path} cannot be read ({reason(error)}); give an image that opens"
            " elsewhere, as PNG or JPEG."
        ) from None
    return torch.from_numpy(np.array(array[None] if array.ndim == 2 else array.transpose(2, 0, 1)))


SEEN, WIDEST = 128, 1200
"""Small images are enlarged to at most ``SEEN`` pixels, on sheets of at most ``WIDEST``."""


def enlargement(height: int, width: int, columns: int) -> int:
    """How many times the images of a sheet are enlarged, so that small ones can be seen."""
    return max(1, min(SEEN // max(height, width), WIDEST // (columns * (width + 2))))


def sheet(
    images: Tensor, columns: int | None = None, scale: int | None = None, gap: int = 2
) -> Tensor:
    """(n, C, H, W) uint8 → one (C, H', W') uint8 sheet, near square unless ``columns`` is given.

    Each pixel becomes ``scale`` × ``scale``; None takes :func:`enlargement`.
    """
    n, c, h, w = images.shape
    columns = columns or max(1, round(n**0.5))
    rows, scale = -(-n // columns), scale or enlargement(h, w, columns)
    if scale > 1:
        images = images.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
        h, w = h * scale, w * scale
    page = torch.full(
        (c, rows * (h + gap) + gap, columns * (w + gap) + gap), 255, dtype=torch.uint8
    )
    for i, image in enumerate(images):
        top, left = gap + (i // columns) * (h + gap), gap + (i % columns) * (w + gap)
        page[:, top : top + h, left : left + w] = image
    return page


def strip(trajectory: Tensor, frames: int = 10, scale: int | None = None) -> Tensor:
    """(evaluations, n, C, H, W) in [−1, 1] → a sheet with one row a sample and ``frames`` moments
    across; ``scale`` as in :func:`sheet`."""
    shown = moments(trajectory, frames)
    picked = to_uint8(shown).transpose(0, 1)
    return sheet(picked.flatten(0, 1), columns=len(shown), scale=scale)


def moments(trajectory: Tensor, frames: int = 10) -> Tensor:
    """At most ``frames`` of a trajectory's entries, evenly, the first and the last among them."""
    count = len(trajectory)
    shown = min(frames, count)
    return trajectory[[round(i * (count - 1) / max(1, shown - 1)) for i in range(shown)]]
