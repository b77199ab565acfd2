"""Records as JSON files: an entry a line, and read back as an object or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffdescent.base.errors import UserError
from diffdescent.base.reading import read_json

_HALVES = re.compile("[\ud800-\udfff]")


def json_text(document: Mapping[str, Any]) -> str:
    """A JSON object as a file has it: an entry a line."""
    lines = (
        f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
        for key, value in document.items()
    )
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    # Names of files may hold bytes that are not UTF-8, which Python keeps as half a character.
    return _HALVES.sub(lambda half: f"\\u{ord(half.group()):04x}", text)


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises :class:`UserError` where there is none."""
    try:
        found = read_json(path)
    except UserError:
        found = None
    if not isinstance(found, dict):
        raise damaged(path)
    return found


def damaged(path: Path) -> UserError:
    """The error for a record that cannot be read."""
    return UserError(
        f"{path} is damaged or cannot be read, so what is in its folder cannot be continued; choose"
        " another folder, or empty this one to make all of it again."
    )


def shortly(value: object) -> str:
    """A value as JSON, cut to 60 characters."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"
