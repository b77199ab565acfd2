"""ComfyUI nodes: a sampler from a recipe, our grids as sigmas, and PixelAsParam on the guidance of
any model.

The installable folder is ``comfyui/`` of the repository; it only re-exports what is here. Of the
host three things are used, all of them public to custom nodes: ``comfy.samplers.KSAMPLER``, the
classes of ``comfy.model_sampling``, and a model's own ``clone``, ``get_model_object`` and
``set_model_sampler_post_cfg_function``. Nothing of it is changed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.grid import GRIDS
from diffdescent.core.options import options_of
from diffdescent.core.process import VE, VP, Flow, Process
from diffdescent.core.recipe import GRID_ALIASES, Recipe, grid_named, parse, parse_grid
from diffdescent.core.transforms import GradientEstimation, Momentum
from diffdescent.core.transforms.base import StepParts
from diffdescent.guidance import Delta, FreePxP
from diffdescent.run import NOISES

from . import kdiffusion

Inputs = dict[str, dict[str, tuple[Any, ...]]]

OWN_ETA = -1.0
"""The eta widget's value that leaves the recipe's own."""


def process_of(model_sampling: Any) -> Process:
    """The process of a host model: a flow with its shift, the discrete VP of its table, or VE
    between its levels."""
    from comfy import model_sampling as host  # type: ignore[import-not-found]

    if isinstance(model_sampling, host.CONST):
        shift = float(getattr(model_sampling, "shift", 1.0))
        # Flux writes its shift as a logarithm.
        return Flow(
            math.exp(shift) if isinstance(model_sampling, host.ModelSamplingFlux) else shift
        )
    if isinstance(model_sampling, host.ModelSamplingDiscrete):
        return kdiffusion.discrete(model_sampling.sigmas)
    return VE(float(model_sampling.sigma_min), float(model_sampling.sigma_max))


def chain(recipe: str, gamma: float = 1.0, momentum: float = 0.0) -> Recipe:
    """The recipe of a text, with gradient estimation unless γ is 1 and momentum unless β is 0."""
    made = parse(recipe)
    if gamma != 1:
        made = made | GradientEstimation(gamma)
    return made | Momentum(momentum) if momentum else made


def _says(check: Callable[[], object]) -> bool | str:
    """What the host wants of a validation: True, or what is wrong."""
    try:
        check()
    except UserError as error:
        return str(error)
    return True


class SamplerNode:
    """A recipe as a SAMPLER, for SamplerCustom and SamplerCustomAdvanced."""

    CATEGORY: ClassVar[str] = "sampling/custom_sampling/samplers"
    DESCRIPTION: ClassVar[str] = (
        "Any diffdescent recipe, such as ge(gamma=2), unipc or ddim | momentum(beta=-0.3)."
    )
    RETURN_TYPES: ClassVar[tuple[str, ...]] = ("SAMPLER",)
    FUNCTION: ClassVar[str] = "make"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        def number(
            default: float, low: float, high: float, step: float, tooltip: str
        ) -> tuple[Any, ...]:
            return "FLOAT", {
                "default": default,
                "min": low,
                "max": high,
                "step": step,
                "tooltip": tooltip,
            }

        return {
            "required": {
                "recipe": (
                    "STRING",
                    {
                        "default": "ge(gamma=2)",
                        "multiline": False,
                        "tooltip": "A solver, then transforms, joined by |.",
                    },
                ),
                "gamma": number(
                    1.0, 0.0, 4.0, 0.05, "Adds gradient estimation with this γ; 1 adds nothing."
                ),
                "momentum": number(
                    0.0, -0.95, 0.95, 0.05, "Adds momentum with this β; 0 adds nothing."
                ),
                "eta": number(
                    OWN_ETA,
                    OWN_ETA,
                    1.0,
                    0.05,
                    "Noise of the solver's steps; −1 is what the recipe says.",
                ),
                "s_noise": number(1.0, 0.0, 2.0, 0.01, "Scales the noise of every step."),
                "noise": (
                    list(NOISES),
                    {"tooltip": "brownian: runs of different step counts share their noise."},
                ),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, recipe: str | None) -> bool | str:
        # None where the text comes from another node. Inputs that are not named here keep the
        # host's own checks.
        return True if recipe is None else _says(lambda: parse(recipe))

    def make(
        self, recipe: str, gamma: float, momentum: float, eta: float, s_noise: float, noise: str
    ) -> tuple[Any]:
        from comfy.samplers import KSAMPLER  # type: ignore[import-not-found]

        made = chain(recipe, gamma, momentum)
        options: dict[str, Any] = {} if eta == OWN_ETA else {"eta": eta}

        def sample(
            model: Any,
            x: Tensor,
            sigmas: Tensor,
            extra_args: Mapping[str, Any] | None = None,
            callback: Callable[[dict[str, Any]], object] | None = None,
            disable: bool | None = None,
        ) -> Tensor:
            function = kdiffusion.sampler(
                made, process=process_of(model.inner_model.inner_model.model_sampling)
            )
            return function(
                model,
                x,
                sigmas,
                extra_args,
                callback,
                disable,
                s_noise=s_noise,
                noise=noise,
                **options,
            )

        return (KSAMPLER(sample),)


class SchedulerNode:
    """One of our grids as SIGMAS."""

    CATEGORY: ClassVar[str] = "sampling/custom_sampling/schedulers"
    DESCRIPTION: ClassVar[str] = (
        f"The noise levels of a diffdescent grid: {', '.join(GRIDS)}, with options."
    )
    RETURN_TYPES: ClassVar[tuple[str, ...]] = ("SIGMAS",)
    FUNCTION: ClassVar[str] = "make"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        known = ", ".join((*GRIDS, *GRID_ALIASES))
        return {
            "required": {
                "model": ("MODEL",),
                "grid": (
                    "STRING",
                    {"default": "loglinear(end=zero)", "multiline": False, "tooltip": known},
                ),
                "steps": ("INT", {"default": 10, "min": 1, "max": 1000}),
                "denoise": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01}),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, grid: str | None) -> bool | str:
        # The real process is only known when the node runs; any that is discrete tells names and
        # options apart.
        return (
            True
            if grid is None
            else _says(lambda: parse_grid(grid_named(grid), VP.named("scaled_linear"), 10))
        )

    def make(self, model: Any, grid: str, steps: int, denoise: float) -> tuple[Tensor]:
        """The last ``steps`` steps of ``steps``/``denoise``, as the host's own schedulers count; of
        a calibrated sampler all of its levels.

        Raises :class:`UserError` for a part of these, which no sampler was fitted for.
        """
        if denoise <= 0:
            return (torch.empty(0),)
        process = process_of(model.get_model_object("model_sampling"))
        if grid_named(grid) != grid:
            if denoise < 1:
                raise UserError(
                    f"{grid} runs from noise on all of its levels; set denoise to 1, or choose"
                    " another grid and sampler."
                )
            return (kdiffusion.get_sigmas(steps, grid, process),)
        return (kdiffusion.get_sigmas(int(steps / denoise), grid, process)[-(steps + 1) :],)


class PxPNode:
    """PixelAsParam's projection on a model's classifier-free guidance.

    With A = D_c and B = (scale − 1)(D_c − D_u), each loses its projection on the other where they
    conflict. It is added to what the guidance made, so other nodes' guidance functions stay.
    """

    CATEGORY: ClassVar[str] = "sampling/custom_sampling/guiders"
    DESCRIPTION: ClassVar[str] = (
        "Resolves conflicts between the conditional estimate and its guidance (PixelAsParam)."
    )
    RETURN_TYPES: ClassVar[tuple[str, ...]] = ("MODEL",)
    FUNCTION: ClassVar[str] = "patch"

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        weight = {"default": FreePxP().den_weight, "min": 0.0, "max": 1.0, "step": 0.01}
        return {
            "required": {
                "model": ("MODEL",),
                "den_weight": ("FLOAT", {**weight, "tooltip": "How much the estimate loses."}),
                "cond_weight": ("FLOAT", {**weight, "tooltip": "How much the guidance loses."}),
                "scope": (
                    list(get_args(options_of(FreePxP)["scope"])),
                    {"tooltip": "One inner product for each of these."},
                ),
            }
        }

    def patch(self, model: Any, den_weight: float, cond_weight: float, scope: Any) -> tuple[Any]:
        patched = model.clone()
        patched.set_model_sampler_post_cfg_function(
            resolver(FreePxP(den_weight, cond_weight, scope))
        )
        return (patched,)


def resolver(pxp: FreePxP) -> Callable[[Mapping[str, Any]], Tensor]:
    """A host function of one evaluation's parts: the guided estimate less what conflicts."""
    delta = Delta(cls_den=pxp.cond_weight, den=pxp.den_weight)

    def resolve(parts: Mapping[str, Any]) -> Tensor:
        guided: Tensor = parts["denoised"]
        if "cond_scale" not in parts:
            raise UserError(
                "This guider does not say its scale, which PxP needs; use the host's CFG guider."
            )
        scale, cond, uncond = parts["cond_scale"], parts["cond_denoised"], parts["uncond_denoised"]
        if uncond is None or math.isclose(
            scale, 1.0
        ):  # there is no guidance, and the host asks for no second estimate
            return guided
        off = pxp.conflicts.removed(StepParts(cond, None, (cond - uncond) * (scale - 1)), delta)
        return guided - off.denoise - off.guidance

    return resolve


NODE_CLASS_MAPPINGS: dict[str, type[Any]] = {
    "DiffdescentSampler": SamplerNode,
    "DiffdescentScheduler": SchedulerNode,
    "DiffdescentPxP": PxPNode,
}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {
    "DiffdescentSampler": "Sampler (diffdescent recipe)",
    "DiffdescentScheduler": "Scheduler (diffdescent grid)",
    "DiffdescentPxP": "PixelAsParam guidance (diffdescent)",
}
