"""Loading a pipeline folder with a recipe in place of its scheduler."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.base.reading import read_json, reason
from diffdescent.core.process import Flow
from diffdescent.core.recipe import default_grid, parse
from diffdescent.core.solvers.calibrated import Calibrated

from .asking import require_size
from .fitted import require_fit_of
from .folder import fingerprint, further_encoders, names_part, pipeline_class, weight_files
from .model import TextToImage
from .parts import require_folders, require_tokenizers

CPU_WIDTH, GPU_WIDTH = 1, 4
"""How many prompts the pipeline is given at once, unless asked otherwise; part of a run's
record."""


def load(
    folder: str | Path,
    recipe: str,
    grid: str | None = None,
    *,
    steps: int = 20,
    device: str = "cpu",
    width: int | None = None,
    guidance: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> TextToImage:
    """The pipeline of ``folder``, from the local disk only, with ``recipe`` in place of its
    scheduler.

    ``grid`` None takes the recipe's usual grid, and for flow matching the levels of the pipeline's
    own config, which may depend on the image's size. ``guidance`` is attached to the pipeline
    (``"cfg | pxp"``). ``options`` are the pipeline's own (``negative_prompt``, ``guidance_scale``,
    ``height``, ``width``); those that are None are left out. A second or third text encoder that
    the folder lacks is left out too (SD3 without its T5).

    Args:
        folder: of a diffusers pipeline.
        recipe: a recipe's text.
        grid: a grid's text; None takes the recipe's usual one.
        steps: of the grid.
        device: "cpu", "cuda" or "mps".
        width: how many images the pipeline makes at once; None is the run's own choice.
        guidance: a guidance text that is attached, such as ``"cfg | pxp"``.
        options: the pipeline's own, such as ``negative_prompt`` or ``height``.

    Returns:
        ``model(prompts, samples, seed=…)`` → images (n, 3, H, W), uint8.

    Raises:
        UserError: a folder that is not such a pipeline or lacks a part, options that it does not
            have, sizes below one pixel, and a calibrated sampler with ``strict`` that was fitted
            for something else (else a warning).
    """
    try:
        from diffusers import DiffusionPipeline

        from diffdescent.apps.diffusers import DescentScheduler, attach
        from diffdescent.apps.diffusers.config import process_of
        from diffdescent.guidance.text import parse_guidance
    except ImportError:
        raise UserError(
            "Text to image needs diffusers and transformers; install them with: pip install"
            " 'diffdescent[diffusers]'."
        ) from None
    root, name, where = Path(folder), str(folder), pick_device(device)
    cls = pipeline_class(root, name)
    given = {key: value for key, value in (options or {}).items() if value is not None}
    known = inspect.signature(cls.__call__).parameters
    for key in given:
        if key not in known:
            raise UserError(
                f"{name!r} is a {cls.__name__}, which has no {key.replace('_', ' ')}; leave it out."
            )
    require_size(given)
    if parse(recipe).whole_batch or (guidance is not None and parse_guidance(guidance).whole_batch):
        raise UserError(
            "A pipeline's batches are filled up to one width, so that an image does not depend on"
            " the others; leave scope=batch and zero=batch out, or sample a checkpoint without"
            " prompts."
        )
    weights = weight_files(root)
    variant = "fp16" if weights and all(".fp16." in path.name for path in weights) else None
    index = read_json(root / "model_index.json")
    require_folders(root, index)
    absent = {part: None for part in further_encoders(cls) if not names_part(index, part)}
    try:
        pipe = DiffusionPipeline.from_pretrained(
            str(root), local_files_only=True, variant=variant, **absent
        )
    except Exception as error:  # a damaged folder can raise anything in the libraries
        raise UserError(
            f"The pipeline {name!r} cannot be loaded ({reason(error)}); copy the whole folder"
            " again."
        ) from None
    require_tokenizers(root, pipe)
    if getattr(pipe, "scheduler", None) is None:
        raise UserError(
            f"{name!r} is a {cls.__name__} without a scheduler, so there is nothing for a recipe to"
            " replace."
        )
    pipe.set_progress_bar_config(disable=True)
    pipe = pipe.to(where)
    scheduler = DescentScheduler.from_config(pipe.scheduler.config, recipe=recipe)
    process = process_of(scheduler.config, 1.0)
    text = (
        grid
        if grid is not None or isinstance(process, Flow)
        else default_grid(parse(recipe), process)
    )
    pipe.scheduler = (
        scheduler if text is None else DescentScheduler.from_config(scheduler.config, grid=text)
    )
    if guidance is not None:
        attach(pipe, guidance)
    identity = fingerprint(weights)
    if isinstance(solver := parse(recipe).solver, Calibrated):
        steps = solver.fitted.nfe
        require_fit_of(pipe, name, identity, process, solver, given, guidance)
    together = width or (CPU_WIDTH if where.type == "cpu" else GPU_WIDTH)
    return TextToImage(pipe, steps, name, identity, together, guidance, given)
