"""Reading and writing safetensors files with torch alone, for the bundled models of an install
without extras.

The format: eight bytes, the header's length (little-endian); a JSON header {name: {dtype, shape,
data_offsets}}; the tensors' bytes. Nothing in it can run code
(https://github.com/huggingface/safetensors, "Format").
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from diffdescent.base.errors import UserError

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "I64": torch.int64,
    "I32": torch.int32,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write ``tensors`` (float64/32/16, int64/32) to ``path``."""
    header: dict[str, dict[str, object]] = {}
    blobs: list[bytes] = []
    end = 0
    for name, tensor in tensors.items():
        blob = tensor.detach().cpu().contiguous().numpy().tobytes()
        header[name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [end, end + len(blob)],
        }
        blobs.append(blob)
        end += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begin at a multiple of eight bytes
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises :class:`UserError` for a missing, cut or foreign
    file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"The weights {path} cannot be read: {error.strerror}.") from error
    try:
        begin = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:begin])
        out: dict[str, Tensor] = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            first, last = (begin + int(offset) for offset in entry["data_offsets"])
            dtype, shape = _DTYPES[entry["dtype"]], [int(n) for n in entry["shape"]]
            if (
                not begin <= first <= last <= len(data)
                or last - first != math.prod(shape) * dtype.itemsize
            ):
                raise ValueError(f"{name} lies outside the file")
            # Empty buffers are refused by frombuffer.
            flat = (
                torch.frombuffer(bytearray(data[first:last]), dtype=dtype)
                if last > first
                else torch.empty(0)
            )
            out[name] = flat.to(dtype).reshape(shape)
        return out
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is no whole safetensors file ({error}); copy or download it again."
        ) from error
