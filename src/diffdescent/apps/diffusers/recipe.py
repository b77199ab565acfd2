"""The full recipe of a config: what is run, written so that it does the same outside diffusers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from diffdescent.base.errors import unknown
from diffdescent.core.recipe import Recipe, parse
from diffdescent.core.solvers.ddim import DDIM, DDPM
from diffdescent.core.transforms import DynamicThreshold, Threshold

from .config import Config, is_flow
from .namesakes import namesake, repeats_end

VARIANCES: dict[str, Literal["small", "large", "learned"]] = {
    "fixed_small": "small",
    "fixed_small_log": "small",
    "fixed_large": "large",
    "learned_range": "learned",
}


def full_recipe(config: Config) -> Recipe:
    """The recipe with what the config adds to it; its text gives the same images outside diffusers.

    * ``lower_order_final=diffusers`` is ``never`` where the step at which the order falls is one of
      no length, which a grid leaves out;
    * ``ddpm`` takes its variance from ``variance_type``;
    * chains on ``ddim`` and ``ddpm`` clip x0 as ``clip_sample`` says (by default, without a
      transform), and all but σ̃-solvers as ``thresholding`` says, unless the recipe has a threshold
      of its own.
    """
    recipe = parse(config["recipe"])
    solver: Any = recipe.solver
    like = namesake(config, recipe)
    falls = getattr(solver, "lower_order_final", None) == "diffusers"
    if falls and repeats_end(config, like):
        solver = replace(solver, lower_order_final="never")
    elif solver == DDPM() and config["variance_type"]:
        if config["variance_type"] not in VARIANCES:
            raise unknown("variance_type", config["variance_type"], VARIANCES)
        solver = DDPM(VARIANCES[config["variance_type"]])
    recipe = replace(recipe, solver=solver)
    if any(isinstance(t, (Threshold, DynamicThreshold)) for t in recipe.transforms):
        return recipe
    eps: Literal["keep", "recompute"] = "keep" if isinstance(solver, DDIM) else "recompute"
    if config["thresholding"] and not like.ratios:
        return recipe | _dynamic(config, eps)
    clips = config["clip_sample"]
    if like.clips and (not recipe.transforms if clips is None else clips) and not is_flow(config):
        return recipe | Threshold(float(config["clip_sample_range"]), eps)
    return recipe


def _dynamic(config: Config, eps: Literal["keep", "recompute"]) -> Threshold | DynamicThreshold:
    highest = config["sample_max_value"]
    if highest == 1:
        return Threshold(1.0, eps)
    return DynamicThreshold(
        float(config["dynamic_thresholding_ratio"]), eps, maximum=float(highest)
    )
