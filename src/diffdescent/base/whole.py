"""Whether files are whole, by the checksums that they carry themselves."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from .files import DAMAGE, require_readable


def is_whole(path: Path) -> bool:
    """Whether a file is there and its own checksums hold, which .npz and .png files have.

    Raises :class:`UserError` where the system does not let us read it.
    """
    check = {".npz": _whole_archive, ".png": _whole_png}.get(path.suffix)
    return path.is_file() and (check is None or check(path))


def _whole_archive(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except DAMAGE as error:
        require_readable(path, error)
        return False


def _whole_png(path: Path) -> bool:
    """Every chunk of the file against its CRC, to the last one (PNG specification, section 5)."""
    try:
        data, at = path.read_bytes(), 8
    except OSError as error:
        require_readable(path, error)
        return False
    if data[:at] != b"\x89PNG\r\n\x1a\n":
        return False
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            return False
        if data[at + 4 : at + 8] == b"IEND":
            return end == len(data)
        at = end
    return False
