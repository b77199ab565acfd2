"""Reading the fields of a scheduler's config: what the network predicts, its process, its times."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from diffdescent.base.errors import UserError
from diffdescent.core.predict import Kind
from diffdescent.core.process import Flow, Point, Process
from diffdescent.core.recipe import Recipe
from diffdescent.models.checkpoints import process_from_config

Config = Mapping[str, Any]

KINDS: dict[str, Kind] = {
    "epsilon": "eps",
    "sample": "x0",
    "original_sample": "x0",
    "v_prediction": "v",
    "flow_prediction": "flow",
}


def is_flow(config: Config) -> bool:
    """Whether the network was trained by flow matching."""
    return bool(config["prediction_type"] == "flow_prediction" or config.get("use_flow_sigmas"))


def kind_of(config: Config) -> Kind:
    """What the network's raw output means."""
    return KINDS[config["prediction_type"]]


def process_of(config: Config, shift: float | None = None) -> Process:
    """The process that the network was trained on; ``shift`` is that of a flow's grid."""
    if is_flow(config):
        return Flow(shift=flow_shift(config, None) if shift is None else shift)
    return process_from_config({**config, "_class_name": "", "prediction_type": ""})


def flow_shift(config: Config, mu: float | None) -> float:
    """The shift s of a flow's times, s t/(1 + (s − 1) t): fixed, or e^µ (µ where the shift is
    "linear").

    Raises :class:`UserError` where the config asks for µ and there is none.
    """
    if not config["use_dynamic_shifting"]:
        fixed = config["flow_shift"] if config.get("use_flow_sigmas") else config["shift"]
        return float(fixed if fixed is not None else config["shift"] or config["flow_shift"] or 1.0)
    if mu is None:
        raise UserError(
            "This config has use_dynamic_shifting=True, so set_timesteps needs mu=, the shift."
        )
    return math.exp(mu) if config["time_shift_type"] == "exponential" else float(mu)


def respaced(config: Config) -> bool:
    return any(
        bool(config.get(f"use_{name}_sigmas")) for name in ("karras", "exponential", "beta", "lu")
    )


def own_grid(config: Config, recipe: Recipe) -> str | None:
    """The text of a grid of ours, where one is asked for or the recipe's name asks for it (a
    scheduler's name does not: its grid is what the config says)."""
    text: str | None = config["grid"]
    return text if text is not None else recipe.grid


def told_at(config: Config, at: Point) -> float:
    """What the network takes as time at a level: a trained index, a flow's time on the scale of the
    training steps, or ¼ log σ̃ (Stable Video Diffusion's ``timestep_type="continuous"``)."""
    if is_flow(config):
        return at.t * float(config["num_train_timesteps"])
    if config.get("timestep_type") == "continuous" and config["prediction_type"] == "v_prediction":
        return 0.25 * math.log(at.ratio)
    return at.t
