"""Names by content: hexadecimal digits of SHA-256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


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


def arrays_hash(*arrays: npt.NDArray[Any]) -> str:
    """A hash of the types, shapes and values of arrays, in their order."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:20]
