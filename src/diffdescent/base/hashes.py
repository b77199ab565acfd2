"""Names by content: hexadecimal digits of SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path


def json_hash(document: object, digits: int) -> str:
    """The first ``digits`` digits of what identifies a JSON document; the order of keys is free."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:digits]


def files_hash(paths: Iterable[Path]) -> str:
    """What identifies the bytes of files, read one after the other."""
    sha = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                sha.update(block)
    return sha.hexdigest()
