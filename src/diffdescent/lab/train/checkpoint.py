"""The folder of a training: the record of its settings, and one file that holds weights, average,
optimizer and step, written so that a crash leaves the old one whole."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from diffdescent.base.errors import UserError
from diffdescent.base.files import replace_file
from diffdescent.base.reading import reason, require_file
from diffdescent.run.store import Kind, Store

from .config import TrainConfig, make_config

# Changing these neither changes a past step nor makes the saved state wrong, so a run may be
# resumed with others.
_FREE = frozenset(
    {
        "out",
        "init_from",
        "data.path",
        "data.test",
        "data.skip_bad",
        "run.steps",
        "run.threads",
        "run.device",
        "run.compile",
        "optimizer.decay",
    }
    | {
        f"run.{name}"
        for name in (
            "log_every",
            "picture_every",
            "evaluate_every",
            "checkpoint_every",
            "tensorboard",
        )
    }
)

_REMEDY = "restore these to resume, choose another out:, or start from its weights with init_from:."


def _compared(record: dict[str, Any], where: str) -> dict[str, Any]:
    """The settings of a record by their full names, and its images. What an older record does not
    know has its default."""
    found = record.get("config")
    config = _kept(found if isinstance(found, dict) else {}, where)
    return {**_flat(config.model_dump(mode="json")), "images": record.get("images")}


TRAINING = Kind(
    what="training",
    record="training.json",
    entries=re.compile(r"checkpoint\.pt|samples/\d{7,}\.png"),
    before=re.compile(r"\..*|log\.jsonl|samples|tensorboard"),
    free=_FREE,
    view=_compared,
    remedy=_REMEDY,
)


def training_store(config: TrainConfig, images: str) -> Store:
    """The folder of a run on the images that ``images`` identifies; a training from before there
    were records has a checkpoint instead, and goes on."""
    out = Path(config.out)
    old = (out / "checkpoint.pt").is_file()
    kind = replace(TRAINING, before=re.compile(".*")) if old else TRAINING
    return Store(out, kind, {"config": config.model_dump(mode="json"), "images": images})


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state`` to ``path`` atomically (:func:`~diffdescent.base.files.replace_file`).

    Raises:
        UserError: the disk is full or refuses; the file that was there before is untouched.
    """
    try:
        replace_file(path, lambda file: torch.save(state, file))
    except (OSError, RuntimeError) as error:  # torch reports a failed write as RuntimeError
        kept = (
            f"the last good checkpoint {path} is whole"
            if path.exists()
            else "there is no earlier checkpoint"
        )
        raise UserError(
            f"The checkpoint {path} could not be written ({str(error).splitlines()[0]}); {kept}:"
            " make room on the disk, then resume."
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what :func:`save_checkpoint` wrote, tensors only (``weights_only=True``).

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    if not path.exists():
        raise UserError(
            f"There is no checkpoint {path}; train first, or check the recipe's out: folder."
        )
    require_file(path, "checkpoint")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        raise UserError(
            f"{path} is not a whole checkpoint ({reason(error)}); remove it to start afresh."
        ) from error
    if (
        not isinstance(state, dict)
        or not {"config", "step", "model", "ema", "optimizer"} <= state.keys()
    ):
        raise UserError(
            f"{path} is not a checkpoint of `diffdescent train`; expected config, step, model, ema"
            " and optimizer in it."
        )
    return state


def check_same_run(path: Path, saved: str, config: TrainConfig) -> None:
    """Refuse to resume a checkpoint of another recipe.

    Raises:
        UserError: naming each setting that differs, with both values.
    """
    # Read back as a config, an older checkpoint gets the defaults of settings that it does not know
    # yet.
    past = _kept(json.loads(saved), f"The config in {path}")
    then, now = _flat(past.model_dump()), _flat(config.model_dump())
    differ = [
        k for k in sorted(then.keys() | now.keys()) if k not in _FREE and then.get(k) != now.get(k)
    ]
    if differ:
        named = ", ".join(f"{k} was {then.get(k)!r} and is {now.get(k)!r}" for k in differ)
        raise UserError(f"The checkpoint {path} comes from another config: {named}; {_REMEDY}")


def _kept(values: dict[str, Any], where: str) -> TrainConfig:
    """A kept config. ``optimizer.freeze`` stood in all of them once; empty it changed nothing."""
    optimizer = values.get("optimizer")
    if isinstance(optimizer, dict) and not optimizer.get("freeze", True):
        values = {**values, "optimizer": {k: v for k, v in optimizer.items() if k != "freeze"}}
    return make_config(values, where)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
