"""How commands write their numbers as JSON, into folders of their own."""

from __future__ import annotations

import json
import math
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from diffdescent.base.errors import UserError
from diffdescent.base.files import DAMAGED, make_folder, write_atomically


def write_result(out: Path, name: str, content: Any) -> None:
    """Write a text, or anything that JSON can hold, into the folder."""
    make_folder(out)
    text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
    write_atomically(out / name, text.encode())


def check_folder(out: Path, what: str, result: str, *others: str) -> None:
    """Raise :class:`UserError` where ``out`` is a folder with files that no ``what`` wrote.

    Such a folder holds its ``result``, or nothing but what matches ``others``: a killed command has
    no result yet.
    """
    if not out.is_dir() or (out / result).is_file():
        return
    for path in sorted(out.iterdir()):
        name = path.name.removesuffix(DAMAGED)
        if not (name.startswith(".") or any(fnmatchcase(name, own) for own in others)):
            raise UserError(
                f"{out} holds files that no {what} wrote ({path.name}, …); choose another folder."
            )


def check_new(out: Path, overwrite: bool) -> None:
    """Raise :class:`UserError` where the file ``out`` is there already and may not be replaced."""
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists; choose another --out, or --overwrite to replace it.")


def finite(value: float | None) -> float | None:
    """The value, or None where JSON has no number for it."""
    return value if value is not None and math.isfinite(value) else None
