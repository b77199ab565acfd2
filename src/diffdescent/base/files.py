"""Files that are whole or absent: written under a name of their own, flushed to the disk, renamed.

Everything that the program keeps goes through here. A reader sees all of a file or the one before
it; a kill, a full disk or a second process leaves nothing torn.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import io
import logging
import os
import re
import shutil
import struct
import time
import uuid
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from .errors import UserError
from .reading import reason, unreadable

Arrays = dict[str, npt.NDArray[Any]]
Write = Callable[[BinaryIO], object]

PARTIAL = re.compile(r"\..*\.partial")
"""Names of files that are being written, or that a kill left behind."""
STALE = 60.0
"""A partial file that was not written to for so long is nobody's any more."""
DAMAGED = ".damaged"
"""What the name of a damaged file ends in, once it is set aside."""
TRIES = 5
"""A partial file may be swept away by another process that begins; it is then written again."""
DAMAGE = (
    OSError, ValueError, KeyError, EOFError, NotImplementedError, RuntimeError, struct.error,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What reading a damaged archive raises, by where the damage is."""
_log = logging.getLogger("diffdescent")


def write_atomically(path: Path, data: bytes, alone: bool = True) -> None:
    """Write ``data`` so that ``path`` either has all of it or is as it was before.

    ``alone``: what killed processes left half-written of this file is removed, too; one of many
    files in a folder leaves that to :func:`sweep`. Raises :class:`UserError` where it cannot be
    written; nothing half-written stays.
    """
    try:
        replace_file(path, lambda file: file.write(data))
    except OSError as error:
        raise refused(path, error) from None
    if alone:
        sweep_name(path)


def replace_file(path: Path, write: Write) -> None:
    """Put what ``write`` writes in place of ``path``, in one go, and flush it and its folder to the
    disk.

    The temporary name is one of its own for every call, on whatever host and process. Whatever
    ``write`` raises is passed on, ``path`` is then as it was.
    """
    for attempt in range(TRIES):
        partial = _partial(path, write)
        try:
            os.replace(partial, path)
        except FileNotFoundError:
            if attempt == TRIES - 1:
                raise
            continue
        except BaseException:
            _remove(partial)
            raise
        flush_folder(path.parent)
        return


def create_file(path: Path, data: bytes) -> bool:
    """Make ``path`` with ``data``, whole; False, and nothing is changed, where it is there already.

    Of several processes that try it at once, one has True. Raises :class:`UserError` where it
    cannot be written.
    """
    try:
        partial = _partial(path, lambda file: file.write(data))
        try:
            made = _link(partial, path, data)
        finally:
            _remove(partial)
        flush_folder(path.parent)
    except OSError as error:
        raise refused(path, error) from None
    return made


def _partial(path: Path, write: Write) -> Path:
    """A new file in the folder of ``path`` with all that ``write`` writes, flushed to the disk."""
    partial = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.partial")
    try:
        with open(partial, "xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        _remove(partial)
        raise
    return partial


def _link(partial: Path, path: Path, data: bytes) -> bool:
    try:
        os.link(partial, path)
    except FileExistsError:
        # Over a network a repeated request may report the link that the first one made.
        return partial.stat().st_nlink == 2
    except OSError:  # a file system without links: exclusive, though not atomic
        try:
            with open(path, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except FileExistsError:
            return False
        except BaseException:
            _remove(path)
            raise
    return True


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, where the system can: a rename survives a power
    cut."""
    if os.name == "nt":
        return
    try:
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
    except OSError as error:  # many file systems refuse this; the write has not failed
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


def refused(path: Path, error: OSError) -> UserError:
    """The error for a place that the system does not let us write to."""
    return UserError(
        f"Cannot write {path}: {error.strerror or error}; free some space or choose another place."
    )


def check_place(path: Path) -> None:
    """Raise :class:`UserError` where ``path`` is no folder and cannot become one, as far as that
    can be seen without making it."""
    try:
        while not path.exists():
            path = path.parent
        able = path.is_dir() and os.access(path, os.W_OK | os.X_OK)
        why = "it is a file" if not path.is_dir() else "it may not be written to"
    except OSError as error:
        able, why = False, str(error.strerror)
    if not able:
        raise UserError(f"Cannot make the folder {path}: {why}; choose another one.")


def make_folder(path: Path) -> None:
    """Make ``path`` a folder. Raises :class:`UserError` where that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"Cannot make the folder {path}: {error.strerror}; choose another one."
        ) from None


def sweep_name(path: Path) -> None:
    """Remove what killed processes left half-written of one file, :data:`STALE` seconds ago."""
    for left in path.parent.glob(f".{glob.escape(path.name[:100])}.*.partial"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime >= STALE:
                _remove(left)


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder.

    A file that is being written at this moment is written again by its process.
    """
    for path in folder.iterdir():
        if PARTIAL.fullmatch(path.name):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                _remove(path)


def set_aside(path: Path) -> Path:
    """Rename a damaged file, so that it is made again, and say so; the name that it has now.

    Raises :class:`UserError` where it cannot be renamed.
    """
    aside = path.with_name(path.name + DAMAGED)
    try:
        os.replace(path, aside)
    except FileNotFoundError:  # another process was first
        return aside
    except OSError as error:
        raise UserError(
            f"{path} is damaged and cannot be set aside ({error.strerror}); remove it, so that it"
            " is made again."
        ) from None
    _log.warning("Note: %s is damaged; it is kept as %s and made again.", path, aside.name)
    return aside


def pack_arrays(arrays: Mapping[str, npt.NDArray[Any]], compressed: bool = False) -> bytes:
    """Named arrays as the bytes of an .npz file."""
    buffer = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(buffer, **arrays)  # type: ignore[arg-type]  # its stub takes the names for keywords of its own
    return buffer.getvalue()


class DamagedError(UserError):
    """A file of the program's own that is not what was written."""


def require_readable(path: Path, error: BaseException) -> None:
    """Raise :class:`UserError` where ``error`` is the system's and not that of a damaged file.

    What cannot be read now, for want of a descriptor or of a network disk, may well be whole.
    """
    absent_or_damaged = (None, errno.EINVAL, errno.ENOENT)  # EINVAL: a seek to before the start
    if isinstance(error, OSError) and error.errno not in absent_or_damaged:
        raise unreadable(path, error) from None


def read_arrays(path: Path) -> Arrays:
    """The arrays of an .npz file. Raises :class:`DamagedError` where it is missing or damaged, and
    :class:`UserError` where the system does not let us read it."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (*DAMAGE, AttributeError) as error:  # a bare array has no context
        require_readable(path, error)
        raise DamagedError(
            f"{path} is missing or damaged ({reason(error)}); give the same command again to make"
            " it."
        ) from None


def kept_arrays(path: Path) -> Arrays | None:
    """The arrays of a file that the program keeps, None where there is none yet; a damaged one is
    set aside. Raises :class:`UserError` where the system does not let us read it."""
    if not path.is_file():
        return None
    try:
        return read_arrays(path)
    except DamagedError:
        set_aside(path)
        return None
