"""Which configs and fields of diffusers' schedulers cannot be expressed, and why."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.recipe import parse, parse_grid

from .config import KINDS, Config, process_of, respaced
from .namesakes import namesake
from .recipe import full_recipe

SOURCES = frozenset(
    f"{name}Scheduler"
    for name in (
        *("DDIM", "DDIMParallel", "DDPM", "DDPMParallel", "PNDM", "LMSDiscrete", "EulerDiscrete"),
        *(
            "EulerAncestralDiscrete",
            "HeunDiscrete",
            "KDPM2Discrete",
            "KDPM2AncestralDiscrete",
            "SASolver",
        ),
        *(
            "DPMSolverMultistep",
            "DPMSolverSinglestep",
            "DPMSolverSDE",
            "DEISMultistep",
            "UniPCMultistep",
        ),
        *("FlowMatchEulerDiscrete", "FlowMatchHeunDiscrete"),
        *("DDIMInverse", "DPMSolverMultistepInverse", "RePaint"),
        *("LCM", "TCD"),
    )
)
"""The diffusers schedulers whose configs describe a VP or flow process and a plain denoiser, and
those of networks distilled over one (LCM, TCD)."""

JUMPS = ("lcm", "tcd")
"""The solvers for such networks, whose answer is the end of the flow."""

_MARKS = {
    "sigma_data": "EDMEulerScheduler or one like it",
    "scale_factors": "FlowMatchLCMScheduler",
    "stages": "HeliosScheduler",
    "n_grid": "PiflowScheduler",
}
"""Fields that only the schedulers of a class have which cannot be expressed."""

_CANNOT: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("invert_sigmas", bool, "its network takes a time that runs backwards"),
    (
        "stochastic_sampling",
        bool,
        "a step that draws all noise anew is a sampler of its own, not a recipe's",
    ),
    ("per_token_timesteps", bool, "every token would have a noise level of its own"),
    (
        "snr_shift_scale",
        lambda v: v not in (None, 1, 1.0),
        "its trained levels are shifted in a way of its own",
    ),
    (
        "interpolation_type",
        lambda v: v not in (None, "linear"),
        "only interpolation_type='linear' has a level a step",
    ),
    (
        "time_shift_type",
        lambda v: v not in (None, "exponential", "linear"),
        "it must be 'exponential' or 'linear'",
    ),
)


def source_of(config: Config) -> str:
    """The class that wrote a config; recognised by its fields where it does not say (a
    scheduler made in this process)."""
    if "_class_name" in config:
        return str(config["_class_name"])
    for field, source in _MARKS.items():
        if field in config:
            return source
    if "beta_schedule" in config:
        return "DDIMScheduler"
    if "trained_betas" in config:
        return "IPNDMScheduler"
    flow = "shift" in config and "num_train_timesteps" in config
    return "FlowMatchEulerDiscreteScheduler" if flow else "a scheduler of unknown class"


def refuse(config: Config, source: str | None = None) -> None:
    """Refuse the config of a scheduler of class ``source`` where it cannot be expressed.

    Raises :class:`UserError` that names the class or the field and says why.
    """
    if source is not None and source not in SOURCES:
        why = (
            "it preconditions the network itself; wrap the network with dd.EDM and use dd.sample"
            if source.startswith("EDM")
            else (
                "its levels and its network are not those of a denoiser that other samplers"
                " could use"
            )
        )
        raise UserError(f"The config of {source} cannot be expressed: {why}.")
    for field, wrong, why in _CANNOT:
        if wrong(config.get(field)):
            raise UserError(
                f"The scheduler's {field}={config[field]!r} cannot be expressed: {why}."
            )


def refuse_distilled(config: Config, recipe: str) -> None:
    """Raise :class:`UserError` where ``recipe`` is not for a distilled network, whose ``config`` it
    is."""
    of, solver = config.get("original_inference_steps"), parse(recipe).solver
    if of and solver.name not in JUMPS:
        raise UserError(
            f"The config of a consistency model (original_inference_steps={of}) cannot be expressed"
            f" with recipe={recipe!r}; write recipe='lcm' or 'tcd', or"
            " original_inference_steps=None where the network is not a distilled one."
        )


def translated(config: Config, own_recipe: bool, recipe: str) -> dict[str, Any]:
    """Fields that another scheduler's config says without writing them down; the recipe is not one
    of them unless ``own_recipe``. ``recipe`` is the one that is going to be run."""
    if "recipe" in config:
        return {} if own_recipe else {"recipe": None}
    said: dict[str, Any] = {"clip_sample": bool(config.get("clip_sample", False))}
    if (of := config.get("original_inference_steps")) and parse(recipe).solver.name in JUMPS:
        end = ", end=first" if parse(recipe).solver.name == "tcd" else ""
        said["grid"] = f"distilled(of={of}{end})"
    if source_of(config).startswith("FlowMatch"):
        said["prediction_type"] = "flow_prediction"
    return said


def check(config: Config) -> None:
    """Refuse what cannot be expressed or read in a scheduler's own config (:class:`UserError`)."""
    refuse(config)
    if not isinstance(config["recipe"], str):
        raise UserError(f"recipe must be a text such as 'ge', not {config['recipe']!r}.")
    if not isinstance(config["noise_seed"], (int, type(None))):
        raise UserError(f"noise_seed must be a whole number or None, not {config['noise_seed']!r}.")
    if config["prediction_type"] not in KINDS:
        raise unknown("prediction_type", str(config["prediction_type"]), KINDS)
    if (
        sum(bool(config.get(f"use_{name}_sigmas")) for name in ("karras", "exponential", "beta"))
        > 1
    ):
        raise UserError(
            "Only one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas can be true."
        )
    if config["timestep_spacing"] not in (None, "leading", "trailing", "linspace"):
        raise unknown(
            "timestep_spacing", str(config["timestep_spacing"]), ("leading", "trailing", "linspace")
        )
    if config["final_sigmas_type"] not in (None, "zero", "sigma_min"):
        raise unknown("final_sigmas_type", str(config["final_sigmas_type"]), ("zero", "sigma_min"))
    if config.get("use_flow_sigmas") and respaced(config):
        raise UserError(
            "use_flow_sigmas with Karras, exponential or beta sigmas is not expressed; give a grid="
            " text."
        )
    recipe, process = full_recipe(config), process_of(config, 1.0)
    if (
        math.isfinite(config.get("lambda_min_clipped") or -math.inf)
        and namesake(config, recipe).open
    ):
        raise UserError(
            f"The scheduler's lambda_min_clipped={config['lambda_min_clipped']} cannot be"
            " expressed: it cuts the noisiest levels off; set it to -inf and say where to start"
            " with grid='karras(start=…)'."
        )
    if config["grid"] is not None:
        parse_grid(config["grid"], process, min(10, config["num_train_timesteps"]))
