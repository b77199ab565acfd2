"""Archives of arrays that others wrote: plain ones, whose sizes are known before they are
unpacked."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from .errors import UserError
from .memory import require_memory
from .reading import require_file, understood

Arrays = dict[str, npt.NDArray[Any]]
_ENDING = ".npy"
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def array_names(path: Path) -> list[str]:
    """The names of the arrays in an npz. Raises :class:`UserError` for another file."""
    require_file(path, "npz file")
    with understood(path, "an npz"), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(_ENDING) for name in archive.namelist()]


def load_arrays(path: Path, wanted: Collection[str] | None = None) -> Arrays:
    """The arrays of an npz by name, those of ``wanted`` that are there (None: all).

    Raises :class:`UserError` for a file that is missing, damaged or of another kind, that holds
    Python objects, and for an array that does not fit into memory.
    """
    require_file(path, "npz file")
    found: Arrays = {}
    with understood(path, "an npz"), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            name = info.filename.removesuffix(_ENDING)
            if wanted is None or name in wanted:
                with archive.open(info) as file:
                    _check(path, name, file, info.file_size)
                with archive.open(info) as file:
                    found[name] = np.lib.format.read_array(file, allow_pickle=False)
    return found


def _check(path: Path, name: str, file: IO[bytes], size: int) -> None:
    """Raise for an array whose header promises other bytes than the archive has, or too many."""
    shape, dtype = read_header(file)
    if dtype.hasobject:
        raise UserError(
            f"The array {name!r} in {path} cannot be read: it holds Python objects, which could run"
            " code; save plain numbers."
        )
    promised = math.prod(shape) * dtype.itemsize
    if promised > size:
        raise UserError(
            f"The array {name!r} in {path} is cut short: {promised} bytes are promised and {size}"
            " are there; write or download it again."
        )
    require_memory(promised, f"The array {name!r} in {path}", "give a smaller one")


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array in the npy format, whose values are not read."""
    version = np.lib.format.read_magic(file)
    shape, _, dtype = _HEADERS[version](file)
    return tuple(shape), dtype
