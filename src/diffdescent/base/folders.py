"""Folders of files that are written by others, such as a library that saves a model: each file is
put in its place whole."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from .files import TRIES, flush_folder, make_folder, refused, sweep


def replace_files(folder: Path, write: Callable[[Path], object]) -> None:
    """Put the files that ``write`` makes in a folder, given to it empty, in place of those of
    ``folder``, each in one go; other files stay.

    Raises :class:`UserError` where the system refuses; nothing half-written stays.
    """
    make_folder(folder)
    sweep(folder)
    for last in (False,) * (TRIES - 1) + (True,):
        partial = folder / f".{uuid.uuid4().hex}.partial"
        made = None
        try:
            partial.mkdir()
            made = partial.stat().st_ino
            write(partial)
            if _swept(partial, made):
                if not last:
                    continue
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            _move(partial, folder)
        except OSError as error:
            if not _swept(partial, made) or last:
                raise refused(folder, error) from None
        except Exception:  # libraries have errors of their own for a folder that is gone
            if not _swept(partial, made) or last:
                raise
        else:
            return
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _swept(partial: Path, made: int | None) -> bool:
    """Whether another process that begins has swept a half-written folder away."""
    try:
        return partial.stat().st_ino != made
    except FileNotFoundError:
        return made is not None
    except OSError:
        return False


def _move(partial: Path, folder: Path) -> None:
    """Put the files of one folder in place of those of another."""
    for path in sorted(p for p in partial.rglob("*") if p.is_file()):
        place = folder / path.relative_to(partial)
        place.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        os.replace(path, place)
        flush_folder(place.parent)
