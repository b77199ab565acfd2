"""Images in and out: tensors in [−1, 1] to 8-bit PNG files, sheets and strips. Needs Pillow (extra
``cli``)."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import UserError
from .files import make_folder, write_atomically


def to_uint8(images: Tensor) -> Tensor:
    """[−1, 1] → 0 … 255, rounded half to even, clamped; (…, C, H, W) uint8 on the CPU."""
    return images.float().add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8).cpu()


def from_uint8(images: Tensor) -> Tensor:
    """0 … 255 → [−1, 1], float32."""
    return images.float().div(127.5).sub(1)


def _picture(image: Tensor) -> Any:
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
    try:
        figure.savefig(buffer, dpi=dpi, format=path.suffix.lstrip(".").lower() or "png")
    except ValueError:
        raise UserError(
            f"Cannot draw a {path.suffix!r} file; end {path} in .png, .pdf or .svg."
        ) from None
    make_folder(path.parent)
    write_atomically(path, buffer.getvalue())


def png_bytes(image: Tensor, optimize: bool = False) -> bytes:
    """One (C, H, W) uint8 image as the bytes of a PNG file, with ``optimize`` a smaller one."""
    buffer = io.BytesIO()
    _picture(image).save(buffer, format="PNG", optimize=optimize)
    return buffer.getvalue()


def save_png(image: Tensor, path: Path) -> None:
    """Write one (C, H, W) uint8 image, atomically."""
    write_atomically(path, png_bytes(image))


def read_image(path: Path, channels: int = 3) -> Tensor:
    """One image file as (channels, H, W) uint8, grey for 1 channel and RGB for 3 whatever the file
    holds.

    Raises :class:`UserError` for a file that is missing, damaged or no image.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            array = np.asarray(picture.convert("L" if channels == 1 else "RGB"))
    except FileNotFoundError:
        raise UserError(f"There is no image {path}; give an existing file.") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(
            f"The image {path} cannot be read ({error}); it is damaged or no image."
        ) from None
    return torch.from_numpy(np.array(array[None] if array.ndim == 2 else array.transpose(2, 0, 1)))


def sheet(images: Tensor, columns: int | None = None, scale: int = 1, gap: int = 2) -> Tensor:
    """(n, C, H, W) uint8 → one (C, H', W') uint8 sheet, near square unless ``columns`` is given."""
    n, c, h, w = images.shape
    columns = columns or max(1, round(n**0.5))
    rows = -(-n // columns)
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


def strip(trajectory: Tensor, frames: int = 10, scale: int = 1) -> Tensor:
    """(evaluations, n, C, H, W) in [−1, 1] → a sheet with one row a sample and ``frames`` moments
    across."""
    count = len(trajectory)
    chosen: Sequence[int] = sorted(
        {round(i * (count - 1) / max(1, frames - 1)) for i in range(min(frames, count))}
    )
    picked = to_uint8(trajectory[list(chosen)]).transpose(0, 1)
    return sheet(picked.flatten(0, 1), columns=len(chosen), scale=scale)
