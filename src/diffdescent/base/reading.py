"""Files that others wrote: whole and ordinary files alone are opened, and one that is not what it
should be is refused in one sentence, whatever the library that reads it makes of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import UserError

LENGTH = 160
"""Characters of another library's message that are passed on, at most."""
_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}
_OBJECT = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")


def require_file(path: Path, what: str = "file") -> None:
    """Raise :class:`UserError` unless ``path`` is an ordinary file; ``what`` says which was
    expected.

    A pipe or a device would keep its reader waiting for ever.
    """
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"There is no {what} {path}; give the path of one.") from None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from None
    for holds, kind in _KINDS.items():
        if holds(mode):
            article = "an" if what[0] in "aeiou" else "a"
            raise UserError(f"{path} is {kind}, not a file; give the path of {article} {what}.")


def unreadable(path: Path, error: Exception) -> UserError:
    """The error for a file that the system does not let us read."""
    return UserError(
        f"{shown(path)} cannot be read: {reason(error)}; give the path of another file."
    )


def shown(path: Path) -> str:
    """A path in quotes, as a message has it: the beginning of a long one."""
    text = str(path)
    return repr(text if len(text) <= LENGTH else f"{text[:LENGTH]}…")


def read_bytes(path: Path, what: str = "file") -> bytes:
    """All of an ordinary file. Raises :class:`UserError` where there is none, or it cannot be
    read."""
    require_file(path, what)
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def read_text(path: Path, what: str = "file") -> str:
    """The text of a UTF-8 file. Raises :class:`UserError` for another one."""
    try:
        return read_bytes(path, what).decode()
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8.") from None


def read_json(path: Path, what: str = "JSON file") -> Any:
    """The JSON document in a file. Raises :class:`UserError` where there is none."""
    return parse_json(read_text(path, what), str(path))


def parse_json(text: str | bytes, where: str) -> Any:
    """The JSON document in a text; ``where`` names it. Raises :class:`UserError` for another
    text."""
    if not text.strip():
        raise UserError(f"{where} is empty; expected JSON.")
    try:
        return json.loads(text)
    except RecursionError:
        raise UserError(f"{where} is nested too deeply to be read as JSON.") from None
    except ValueError as error:
        raise UserError(
            f"{where} is not JSON ({reason(error)}); it may be damaged or cut short."
        ) from None


@contextlib.contextmanager
def understood(
    path: object, what: str, mend: str = "it may be cut short, or of another kind"
) -> Iterator[None]:
    """Within this block ``path`` is made into ``what``; whatever goes wrong is the file's fault and
    raises :class:`UserError`.

    A damaged file can raise anything in the libraries that read it.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise UserError(f"{path} cannot be read as {what} ({reason(error)}); {mend}.") from None


def reason(error: BaseException) -> str:
    """What an error of another library says, in one short line without addresses and without
    advice to run code."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    text = " ".join(_OBJECT.sub("it", str(error)).split())
    text = text.partition(" Exception raised from ")[0]  # PyTorch's own trace
    text = text.partition(" (Could this error message be improved?")[0]
    if "Overflow when unpacking" in text:
        return "a number in it is too large"
    if "weights_only" in text or "pickle" in text.lower():
        return "it holds Python objects, which could run code"
    if not text:
        return re.sub(r"(?<!^)(?=[A-Z])", " ", type(error).__name__).lower()
    return text.rstrip(".") if len(text) <= LENGTH else f"{text[:LENGTH]}…"
