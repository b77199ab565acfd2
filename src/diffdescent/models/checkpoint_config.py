"""What must hold of a checkpoint's config: types and sizes before its network is made, the weights
and an evaluation after."""

from __future__ import annotations

import contextlib
import inspect
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from diffdescent.base.errors import UserError
from diffdescent.base.reading import reason

MOST = 1 << 31
"""Numbers in a config are smaller."""
_TYPES = ((bool, (bool,)), (int, (int, float)), (float, (int, float)), (str, (str,)))
"""For each type of a default, those that an entry may have."""
_GREATEST = {"sample_size": 1 << 14, "layers_per_block": 64, "block_out_channels": 1 << 14}
"""What a network with images may have at most of these; more would take all memory to be made."""


def check_numbers(path: Path, config: dict[str, Any]) -> None:
    """Raise :class:`UserError` for a number, also in a list, that no entry of a config has: what
    the libraries make of it is anything."""
    for name, value in config.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, int | float) and not abs(one) < MOST:  # so for nan
                raise UserError(
                    f"{path}: {name} holds {str(one)[:40]}, which is no number of a network; the"
                    " checkpoint is damaged."
                )


def check_types(path: Path, config: dict[str, Any], constructor: Callable[..., Any]) -> None:
    """Raise :class:`UserError` for an entry of another type than the constructor's default: the
    network would fail over it when it is evaluated."""
    for name, parameter in inspect.signature(constructor).parameters.items():
        value, default = config.get(name), parameter.default
        allowed = next((types for kind, types in _TYPES if isinstance(default, kind)), None)
        if value is None or allowed is None:
            continue
        finite = not isinstance(value, float) or math.isfinite(value)
        if not isinstance(value, allowed) or not finite:
            raise UserError(
                f"{path}: {name} must be a {type(default).__name__} such as {default!r}, not"
                f" {str(value)[:40]}; the checkpoint is damaged."
            )


def check_sizes(path: Path, config: dict[str, Any]) -> None:
    """Raise :class:`UserError` for sizes that no network has: it is made before its weights are
    looked at."""
    for name, most in _GREATEST.items():
        value = config.get(name)
        if value is None:
            continue
        sizes = value if isinstance(value, list) else [value]
        enough = name != "sample_size" or not isinstance(value, list) or len(value) == 2
        if not (enough and all(type(one) is int and 1 <= one <= most for one in sizes)):
            raise UserError(
                f"{path}: {name} must hold whole numbers from 1 to {most}, not {str(value)[:40]};"
                " the checkpoint is damaged."
            )


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Within this block diffusers keeps its remarks on weights to itself: :func:`check_loaded` says
    them in a sentence."""
    log = logging.getLogger("diffusers")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def check_loaded(folder: Path, found: dict[str, Any]) -> None:
    """Raise :class:`UserError` where the weights are not all that the config describes, and
    nothing else: what lacks weights would keep random ones."""
    for what, where in (
        ("missing_keys", "not in the weights"),
        ("unexpected_keys", "not in the config"),
    ):
        if names := sorted(map(str, found.get(what) or ())):
            raise UserError(
                f"{folder}: config.json and the weights are of two networks ({names[0]} is"
                f" {where}); restore the checkpoint."
            )


def rehearse(folder: Path, network: Any, config: dict[str, Any]) -> None:
    """Raise :class:`UserError` for a config with which a network can be made but not evaluated.

    It is evaluated without numbers (on PyTorch's meta device), which takes no time or memory.
    """
    try:
        size = config.get("sample_size") or 64
        height, width = (size, size) if isinstance(size, int) else size
        with torch.device("meta"), torch.no_grad():
            unet = network.from_config(config)
            labels = None if unet.config.num_class_embeds is None else torch.zeros(1).long()
            x = torch.zeros(1, unet.config.in_channels, height, width)
            unet(x, torch.zeros(1), class_labels=labels)
    except Exception as error:  # whatever the library makes of it
        raise UserError(
            f"{folder}/config.json describes a network that cannot be evaluated"
            f" ({reason(error)}); restore the checkpoint."
        ) from None
