"""What a person has in hand, as a model: ours, a name, or a network or pipeline of diffusers."""

from __future__ import annotations

import os
from os import PathLike
from typing import Any, cast

import torch

from diffdescent.base.errors import UserError
from diffdescent.base.words import shown
from diffdescent.core.predict import Predictor

WRAP = (
    'wrap it: dd.Network(lambda x, t, cond: module(x, t), process=dd.VP.named("linear"),'
    ' kind="eps", shape=(3, 32, 32)), with the process and the kind that it was trained with'
)


def as_model(thing: Any, device: torch.device | str | None = None) -> Predictor:
    """``thing`` as a model that can be sampled from.

    A :class:`Predictor` is itself, a text or a path is loaded (:func:`diffdescent.load_model`), to
    ``device`` where that is given; what is a model already stays where it is. An
    unconditional diffusers pipeline, such as ``DDPMPipeline``, is its U-Net under its scheduler's
    process and prediction type; a bare ``UNet2DModel`` is taken for ε over the linear process of
    1000 steps, as its folder without a scheduler is. Raises :class:`UserError`, which says what to
    do, for everything else.
    """
    if isinstance(thing, (str, PathLike)):
        from diffdescent.models import load_model

        return load_model(os.fspath(thing), None if device is None else str(device))
    if hasattr(thing, "process") and callable(thing):
        return cast(Predictor, thing)
    kinds = {kind.__name__ for kind in type(thing).__mro__}
    name = type(thing).__name__
    if "DiffusionPipeline" in kinds:
        return _of_pipeline(thing, name)
    if "UNet2DModel" in kinds:
        return _of_unet(thing, {}, name)
    if "ModelMixin" in kinds:
        raise UserError(
            f"A {name} needs more than an image and a time, so what it is given is for you to say:"
            f" {WRAP}."
        )
    if callable(thing):
        raise UserError(f"A {name} does not say what it predicts and over which process; {WRAP}.")
    raise UserError(
        f"{shown(thing)} is not a model; give a name, a folder, a dd.Network or a diffusers"
        " UNet2DModel."
    )


def _of_pipeline(pipeline: Any, name: str) -> Predictor:
    unet, scheduler = getattr(pipeline, "unet", None), getattr(pipeline, "scheduler", None)
    kinds = {kind.__name__ for kind in type(unet).__mro__}
    if "UNet2DModel" not in kinds or getattr(pipeline, "vae", None) is not None:
        raise UserError(
            f"A {name} does more than call a network, so it stays in charge: set pipe.scheduler ="
            ' DescentScheduler.from_config(pipe.scheduler.config, recipe="ge") (from'
            " diffdescent.integrations.diffusers) and call pipe(…) as always."
        )
    config = {} if scheduler is None else dict(scheduler.config)
    return _of_unet(unet, {"_class_name": type(scheduler).__name__, **config}, name)


def _of_unet(unet: Any, sampling: dict[str, Any], name: str) -> Predictor:
    from .checkpoints import wrap_unet

    unet.eval()
    return wrap_unet(unet, sampling, name=name)
