"""The images of a folder or zip: their names in order, their bytes, and their classes."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath

import torch

from diffdescent.base.archives import read_member
from diffdescent.base.errors import UserError
from diffdescent.base.reading import require_file, understood

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})

BESIDE = ("sheet.png", "trajectory.png")
"""What ``diffdescent sample`` writes next to the images of a run; not an image of the set."""

Source = Iterator[tuple[str, Callable[[], bytes]]]
"""Names of images, and how their bytes are read, one after the other."""


def listing(path: Path) -> tuple[list[str], Source]:
    """The names of the images in a folder or zip, sorted, and a source of them with their bytes.

    Raises :class:`UserError` where there is no such folder or zip, and for the folder of a
    restoration.
    """
    if not path.exists():
        raise UserError(
            f"There is no file or folder {path}; give an image folder, a .zip of images or an .npz."
        )
    if path.is_dir():
        if (path / "run.json").is_file() and (path / "cells").is_dir():
            raise UserError(
                f"{path} is the folder of a restoration, with the means and deviations of its"
                " samples beside them; its scores are in table.csv, and for others give a folder"
                " of images alone."
            )
        beside = {path / name for name in BESIDE} if (path / "run.json").is_file() else set()
        found = sorted(
            p
            for p in path.rglob("*")
            if p.suffix.lower() in SUFFIXES and p.is_file() and p not in beside
        )
        names = [p.relative_to(path).as_posix() for p in found]
        return names, ((n, p.read_bytes) for n, p in zip(names, found, strict=True))
    require_file(path, "file of images")
    if not zipfile.is_zipfile(path):
        raise UserError(
            f"{path} is neither a folder, a whole .zip nor an .npz; it may be cut short, or of"
            " another kind."
        )
    with understood(path, "a zip"), zipfile.ZipFile(path) as archive:
        members = [i.filename for i in archive.infolist() if not i.is_dir()]
        names = sorted(
            n for n in members if PurePosixPath(n).suffix.lower() in SUFFIXES and not _of_macos(n)
        )
    for name, after in pairwise(names):
        if name == after:
            raise UserError(
                f"{path} holds several images named {name}, of which only one can be read; give"
                " each a name of its own."
            )
    return names, _members(path, names)


def _of_macos(name: str) -> bool:
    """Whether a member is what macOS notes of a file (``__MACOSX/._1.png``), not the file."""
    path = PurePosixPath(name)
    return path.parts[0] == "__MACOSX" or path.name.startswith("._")


def _members(path: Path, names: list[str]) -> Source:
    with zipfile.ZipFile(path) as archive:
        for name in names:
            yield name, partial(read_member, archive, name)


def labels_of(names: list[str]) -> tuple[torch.Tensor | None, list[str] | None]:
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
