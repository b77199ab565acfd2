"""What a command keeps, made comparable: all that follows from its arguments, and not from how long
it took."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

VOLATILE = frozenset(
    {
        "seconds",
        "evaluations",
        "stages",
        "command",
        "images_per_s",
        "seconds_per_image",
        "loading",
        "cost",
        "samples",
    }
)
"""Names of entries that differ from run to run."""
TEXTS = (".html", ".md", ".parquet", ".csv", ".txt")
"""Reports say how long things took; that they are there is what is compared."""


def kept(folder: Path) -> dict[str, str]:
    """The files of a folder by name, each with a hash of what must be equal."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        found[path.relative_to(folder).as_posix()] = _digest(path)
    return found


def _digest(path: Path) -> str:
    if path.suffix in TEXTS:
        return "there"
    try:
        return _content(path, path.read_bytes())
    except Exception:  # whatever a damaged file does to its reader
        return "damaged"


def _content(path: Path, data: bytes) -> str:
    if path.suffix == ".npz":
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            content = [(n, arrays[n].tobytes()) for n in sorted(arrays.files) if n not in VOLATILE]
        return _hash(repr(content).encode())
    if path.suffix == ".json":
        return _hash(json.dumps(_plain(json.loads(data)), sort_keys=True).encode())
    if path.suffix == ".jsonl":
        lines = [_plain(json.loads(line)) for line in data.decode().splitlines()]
        return _hash(json.dumps(lines, sort_keys=True).encode())
    if path.suffix == ".pt":
        return _hash(_tensors(torch.load(io.BytesIO(data), weights_only=True)).encode())
    return _hash(data)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if k not in VOLATILE}
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _tensors(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return _hash(value.contiguous().view(-1).numpy().tobytes())
    if isinstance(value, dict):
        return repr([(str(k), _tensors(v)) for k, v in value.items()])
    if isinstance(value, list | tuple):
        return repr([_tensors(v) for v in value])
    return repr(value)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
