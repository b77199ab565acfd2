"""Whether a pipeline is what a calibrated sampler was fitted for."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from diffdescent.core.model_info import ModelInfo
from diffdescent.core.predict import Prediction
from diffdescent.core.process import Point, Process
from diffdescent.core.recipe import Recipe
from diffdescent.core.solvers.calibrated import Calibrated
from diffdescent.run.fitted_for import require_fit

SETTINGS = ("guidance_scale", "negative_prompt")
"""Options of a pipeline's call that change its estimates; prompts are its labels."""


def settings_of(pipe: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the pipeline's estimates depend on beside its weights and prompts: ``options``, else the
    defaults of its call."""
    known = inspect.signature(pipe.__call__).parameters
    found = {key: options.get(key, known[key].default) for key in SETTINGS if key in known}
    return {key: value for key, value in found.items() if value is not None}


def latent_shape(pipe: Any, options: Mapping[str, Any]) -> tuple[int, ...] | None:
    """(C, h, w) of one image's latents; None where the pipeline does not say."""
    network = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
    config, factor = getattr(network, "config", None), getattr(pipe, "vae_scale_factor", None)
    channels, side = (getattr(config, key, None) for key in ("in_channels", "sample_size"))
    if not (isinstance(channels, int) and isinstance(side, int) and isinstance(factor, int)):
        return None
    sizes = (options.get(key) or side * factor for key in ("height", "width"))
    return (channels, *(size // factor for size in sizes))


def require_fit_of(
    pipe: Any,
    name: str,
    fingerprint: str,
    process: Process,
    solver: Calibrated,
    options: Mapping[str, Any],
    guidance: str | None,
) -> None:
    """Warn where ``solver`` was fitted for other weights, another size, noise process, guidance
    scale or negative prompt than the pipeline's; with ``strict`` raise :class:`UserError`."""
    shape = latent_shape(pipe, options) or tuple(solver.fitted.fitted_for.get("shape") or ())
    known = ModelInfo(name=name, identity=fingerprint, settings=settings_of(pipe, options))
    model = _Unasked(process, shape, known)
    require_fit(Recipe(solver), model, guidance, shape, labelled=True)


@dataclass
class _Unasked:
    """What a pipeline is as a model, for those who only look."""

    process: Process
    shape: tuple[int, ...] | None
    info: ModelInfo

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        raise RuntimeError("this model is not for asking")
