"""Checkpoint files: what is around the weights is taken off, and no code is run."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.reading import reason, require_file
from diffdescent.models.weight_files import read_tensors

State = dict[str, Tensor]


def read_state(path: Path, weights: str = "auto") -> State:
    """The tensors of a checkpoint, by name, on the CPU.

    Understood are plain dictionaries of tensors (``.pt``, ``.pth``, ``.ckpt``, ``.safetensors``),
    the DDIM code's list [model, optimizer, epoch, step, average] and dictionaries with ``ema``,
    ``model`` or ``state_dict``. ``weights``: ``"ema"`` or ``"model"`` where a file has both;
    ``"auto"`` prefers the average. Prefixes ``module.`` and ``_orig_mod.`` are dropped.

    Raises :class:`UserError` for a file that is missing, damaged, needs code to be read, holds no
    tensors, or lacks the weights asked for.
    """
    require_file(path, "checkpoint file")
    content: Any
    content = read_tensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    state = _state(content, weights, path)
    for prefix in ("module.", "_orig_mod."):
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if _is_torch(path):
            raise UserError(
                f"{path} holds objects whose loading runs code, which is refused; on a machine"
                " where you trust the file, load it there with its own code and save"
                " {name: tensor} alone, torch.save(model.state_dict(), 'weights.pt') (EDM:"
                " pickle.load(f)['ema'].state_dict())."
            ) from error
        raise _damaged(path, error) from error
    except Exception as error:  # a damaged pickle can raise anything
        raise _damaged(path, error) from error


def _is_torch(path: Path) -> bool:
    """Whether the file is a zip archive or a pickle, by its first bytes."""
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _damaged(path: Path, error: BaseException) -> UserError:
    if not _is_torch(path):
        return UserError(
            f"{path} is no checkpoint: it begins neither as a zip archive nor as a pickle; give the"
            " file that was published (.pt, .pth, .ckpt, .pkl or .safetensors)."
        )
    return UserError(
        f"{path} is not a whole checkpoint ({reason(error)}); download it again, and compare its"
        " size."
    )


def _is_state(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and len(value) > 0
        and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in value.items())
    )


def _candidates(content: Any) -> dict[str, Any]:
    """The weights in a file by what they are: ``model`` and ``ema``."""
    if _is_state(content):
        return {"model": content}
    if isinstance(content, (list, tuple)):  # [model, optimizer, epoch, step, average]
        found = {"model": content[0]} if content and _is_state(content[0]) else {}
        if len(content) > 4 and _is_state(content[-1]):
            found["ema"] = content[-1]
        return found
    if not isinstance(content, Mapping):
        return {}
    found = {}
    for name, label in (("state_dict", "model"), ("model", "model"), ("ema", "ema")):
        inner = content.get(name)
        if isinstance(inner, Mapping) and "shadow" in inner:
            inner = inner["shadow"]
        if _is_state(inner):
            found[label] = inner
    return found


def _state(content: Any, weights: str, path: Path) -> State:
    found = _candidates(content)
    if not found:
        raise UserError(
            f"{path} holds no weights that are understood; expected tensors by name, alone or under"
            " 'ema', 'model' or 'state_dict'."
        )
    if weights == "auto":
        weights = "ema" if "ema" in found else "model"
    if weights not in found:
        raise UserError(
            f"{path} holds no {'average' if weights == 'ema' else 'raw model'}; it has"
            f" {' and '.join(found)}: choose that with --weights."
        )
    return dict(found[weights])
