"""Images from a folder, a zip or an npz, as one uint8 tensor with labels.

The three layouts that people already have:

- a **folder**, read recursively; when every image lies in a subfolder, the name of its top-level
  subfolder is its class;
- a **zip** of the same shape (``CLASS/0001.jpg``), decoded in memory and never extracted to disk;
- an **npz** with ``arr_0`` (uint8, NHWC or NHW) and optionally ``arr_1`` (one label per image), the
  layout of the guided-diffusion evaluation files, or with a single array ``images``.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import torch

from .errors import UserError

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})

BESIDE = ("sheet.png", "trajectory.png")
"""What ``diffdescent sample`` writes next to the images of a run; not an image of the set."""

Pixels = npt.NDArray[np.uint8]
Source = Iterator[tuple[str, bytes]]


@dataclass(frozen=True)
class ImageSet:
    """Images of one size in memory.

    ``images`` is uint8 of shape (n, C, H, W), values 0..255; ``labels`` is int64 of shape (n,) or
    None; ``classes[k]`` is the name of label k where names are known; ``names[i]`` says where image
    i came from.
    """

    images: torch.Tensor
    labels: torch.Tensor | None
    classes: list[str] | None
    names: list[str]

    def __len__(self) -> int:
        return int(self.images.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.images.shape[1:]
        return int(channels), int(height), int(width)

    @property
    def num_classes(self) -> int:
        """How many classes there are; 0 without labels."""
        if self.classes is not None:
            return len(self.classes)
        return 0 if self.labels is None else int(self.labels.max()) + 1


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
        return _read_npz(path, size, progress)
    names, source = _listing(path)
    decoded = list(_decoded(path, names, source, skip_bad, size, progress))
    kept = [name for name, _ in decoded]
    labels, classes = _labels_of(kept)
    return ImageSet(_stack(path, decoded), labels, classes, kept)


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
        yield from torch.split(_read_npz(path, None, progress).images, batch)
        return
    names, source = _listing(path)
    found = _decoded(path, names, source, False, None, progress)
    first = next(found)
    waiting = [first]
    for item in found:
        if len(waiting) == batch:
            yield _stack(path, waiting, first)
            waiting = []
        waiting.append(item)
    yield _stack(path, waiting, first)


def _listing(path: Path) -> tuple[list[str], Source]:
    """The names of the images in a folder or zip, sorted, and a source of them with their bytes."""
    if not path.exists():
        raise UserError(
            f"There is no file or folder {path}; give an image folder, a .zip of images or an .npz."
        )
    if path.is_dir():
        beside = {path / name for name in BESIDE} if (path / "run.json").is_file() else set()
        found = sorted(
            p
            for p in path.rglob("*")
            if p.suffix.lower() in SUFFIXES and p.is_file() and p not in beside
        )
        names = [p.relative_to(path).as_posix() for p in found]
        return names, ((n, p.read_bytes()) for n, p in zip(names, found, strict=True))
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"{path} is neither a folder, a whole .zip nor an .npz; it may be cut short, or of"
            " another kind."
        )
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if PurePosixPath(n).suffix.lower() in SUFFIXES)
    return names, _members(path, names)


def _members(path: Path, names: list[str]) -> Source:
    with zipfile.ZipFile(path) as archive:
        for name in names:
            yield name, _member(archive, name)


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError):
        # Empty bytes fail to decode, so that a damaged member is named, or skipped, like any other
        # bad image.
        return b""


def _decoded(
    path: Path,
    names: list[str],
    source: Source,
    skip_bad: bool,
    size: int | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[tuple[str, Pixels]]:
    some = False
    for count, (name, data) in enumerate(source):
        try:
            pixels = _decode(data, size)
        except (
            OSError,
            ValueError,
            SyntaxError,
        ) as error:  # what Pillow raises for damaged files, by format
            if not skip_bad:
                raise UserError(
                    f"The image {name} in {path} cannot be decoded ({error or 'it is empty'});"
                    " replace or remove it, or leave out such images with skip_bad=True"
                    " (--skip-bad)."
                ) from error
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


def _decode(data: bytes, size: int | None) -> Pixels:
    """One image as uint8 (H, W, C): C = 1 for grey images, 3 for all others."""
    from PIL import Image

    if not data:
        raise ValueError("it is empty")
    with Image.open(io.BytesIO(data)) as opened:
        image = opened if opened.mode in ("L", "RGB") else opened.convert("RGB")
        if size is not None:
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.resize(
                (size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side)
            )
        pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _stack(
    path: Path, decoded: list[tuple[str, Pixels]], like: tuple[str, Pixels] | None = None
) -> torch.Tensor:
    """One tensor of images that are all of the size of ``like`` (None: the first of them)."""
    first_name, first = like or decoded[0]
    out = np.empty((len(decoded), first.shape[2], first.shape[0], first.shape[1]), np.uint8)
    for i, (name, pixels) in enumerate(decoded):
        if pixels.shape != first.shape:
            raise UserError(
                f"The images in {path} differ in size: {first_name} is {_describe(first)} but"
                f" {name} is {_describe(pixels)}; make them alike, or crop and resize all of them"
                " with size=N."
            )
        out[i] = pixels.transpose(2, 0, 1)
    return torch.from_numpy(out)


def _describe(pixels: Pixels) -> str:
    height, width, channels = pixels.shape
    return f"{width}×{height} with {channels} channel{'s' if channels > 1 else ''}"


def _labels_of(names: list[str]) -> tuple[torch.Tensor | None, list[str] | None]:
    """Labels from the top-level folder of each name; None when some image lies in no folder, or all
    lie in one folder."""
    parents = [PurePosixPath(name).parts[:-1] for name in names]
    depth = 0
    # A wrapping folder common to all (data/cat/1.png, data/dog/1.png) does not name the class.
    while all(len(p) > depth + 1 for p in parents) and len({p[depth] for p in parents}) == 1:
        depth += 1
    if not all(len(p) > depth for p in parents):
        return None, None
    classes = sorted({p[depth] for p in parents})
    index = {c: k for k, c in enumerate(classes)}
    return torch.tensor([index[p[depth]] for p in parents], dtype=torch.int64), classes


def _read_npz(
    path: Path, size: int | None, progress: Callable[[int, int], None] | None
) -> ImageSet:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {
                key: file[key]
                for key in file.files
                if key in ("arr_0", "arr_1", "images", "labels")
            }
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise UserError(
            f"{path} cannot be read as an npz ({error}); it may be cut short: write or download it"
            " again."
        ) from error
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
    if not len(images):
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
    if int(labels.astype(np.int64).min()) < 0:
        raise UserError(
            f"The labels in {path} go down to {labels.min()}; expected integers 0..K-1."
        )
    return torch.from_numpy(labels.astype(np.int64))
