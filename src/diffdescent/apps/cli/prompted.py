"""A model of the command line that may be a text-to-image pipeline with its prompt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffdescent.apps.prompts import require_prompt
from diffdescent.apps.textimage import wants_prompt
from diffdescent.base.errors import UserError
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.models import load_model


def without_a_prompt(name: str, options: Mapping[str, object], ways: str = "--prompt") -> None:
    """Raise :class:`UserError` for the first option that belongs to a prompt, and for a model that
    needs one; ``ways`` is how a prompt is given."""
    for option, value in options.items():
        if value is not None:
            flag = option.replace("_", "-")
            raise UserError(f"--{flag} belongs to a prompt; give {ways} too.")
    if wants_prompt(Path(name)):
        raise UserError(f"{name!r} is a text-to-image pipeline; say what to draw with {ways}.")


def prompted(
    name: str,
    prompt: str | None,
    options: Mapping[str, Any],
    *,
    device: str = "cpu",
    micro_batch: int | None = None,
    bare: bool = False,
) -> Predictor:
    """The model of that name; with a prompt a pipeline folder, whose latents are the states and
    whose label 0 is the prompt. ``bare`` leaves the pipeline's own guidance out.

    Raises:
        UserError: a pipeline without a prompt, a prompt for another model, and options that belong
            to a prompt without one.
    """
    if prompt is None:
        without_a_prompt(name, options)
        return load_model(name, device)
    require_prompt(prompt)
    from diffdescent.apps.textimage.predictor import load_predictor

    from .prompting import hide_loading

    hide_loading()
    return load_predictor(
        name, [prompt], device=device, width=micro_batch, options=dict(options), bare=bare
    )


def shown(state: Tensor, model: Predictor) -> Tensor:
    """The image (C, H, W) of a state: itself, or what a pipeline decodes of it."""
    decode = info(model).decode
    if decode is None:
        return state
    with torch.no_grad():
        return decode(state[None].to(info(model).device))[0].cpu()
