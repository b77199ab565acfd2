"""Weights on disk: safetensors files, which cannot run code, and what identifies them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.files import write_atomically
from diffdescent.base.hashes import files_hash
from diffdescent.base.reading import read_bytes, reason

NAMES = (
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
)
"""Where a model folder may have its weights."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write named ``tensors`` to a safetensors file, whole or not at all."""
    host = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_atomically(path, save(host, metadata={"format": "pt"}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file. Raises :class:`UserError` for a missing, cut or foreign
    one."""
    if not path.exists():
        raise UserError(f"The weights {path} cannot be read: there is no such file.")
    data = read_bytes(path, "file of weights")
    try:
        # Not load_file: its tensors are mapped, and change when the file is written again.
        found: dict[str, Tensor] = load(data)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{path} is not a whole safetensors file ({reason(error)}); copy or download it again."
        ) from error
    return found


def load_state(folder: Path) -> dict[str, Tensor]:
    """The weights of a model folder: its own ``.safetensors``, or the one in ``unet/``.

    Raises :class:`UserError` where there is none, or it cannot be read.
    """
    found = [folder / name for name in NAMES if (folder / name).is_file()]
    if not found:
        raise UserError(f"There are no weights in {folder}; expected one of {', '.join(NAMES)}.")
    return read_tensors(found[0])


def weights_fingerprint(folder: Path) -> str:
    """SHA-256 of the weight files: a run's record says which weights made it."""
    return files_hash(sorted((*folder.glob("*.safetensors"), *folder.glob("*.bin"))))[:16]
