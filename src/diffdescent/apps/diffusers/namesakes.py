"""How each of diffusers' schedulers reads what its config leaves open, by the solver that it is.

A field that is None means what diffusers' scheduler of the solver's class means by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from diffdescent.core.recipe import Recipe

from .config import Config, is_flow, respaced


@dataclass(frozen=True)
class Namesake:
    """How diffusers' scheduler of a solver's name reads what its config leaves open.

    ``open``: N + 1 levels are laid out and the lowest is left out. ``end``: "zero" (σ = 0), "first"
    (the lowest trained level) or what ``set_alpha_to_one`` says, with the default "alpha" (zero) or
    "no alpha" (first). ``ratios``: it lives in σ̃ = σ/α: linspace times are not rounded, σ̃ between
    trained levels is linear, and pipelines start it from σ̃·noise. ``clips``: it clips x0 where
    ``clip_sample`` says so, by default.
    """

    spacing: Literal["leading", "trailing", "linspace"] = "leading"
    open: bool = False
    end: Literal["zero", "first", "alpha", "no alpha"] = "alpha"
    ratios: bool = False
    clips: bool = False


NAMESAKES: dict[str, Namesake] = {
    "ddim": Namesake(clips=True),
    "ddpm": Namesake(end="zero", clips=True),
    "plms": Namesake(end="no alpha"),
    "pndm": Namesake(end="no alpha"),
    "euler": Namesake("linspace", end="zero", ratios=True),
    "heun": Namesake("linspace", end="zero", ratios=True),
    "lms": Namesake("linspace", end="zero", ratios=True),
    "dpm": Namesake("linspace", open=True, end="zero"),
    "dpmpp": Namesake("linspace", open=True, end="zero"),
    "unipc": Namesake("linspace", open=True, end="zero"),
    "deis": Namesake("linspace", open=True, end="first"),
}


def namesake(config: Config, recipe: Recipe) -> Namesake:
    """How diffusers' scheduler of the recipe's solver lays out its levels; that of DDIM where there
    is none."""
    return NAMESAKES.get(recipe.solver.name, Namesake())


def ends_at_zero(config: Config, like: Namesake) -> bool:
    """Whether the last step ends at σ = 0, else at the lowest trained level."""
    said, alpha = config["final_sigmas_type"], config["set_alpha_to_one"]
    if said is not None:
        return bool(said == "zero")
    if like.end in ("zero", "first"):
        return like.end == "zero"
    return like.end == "alpha" if alpha is None else bool(alpha)


def repeats_end(config: Config, like: Namesake) -> bool:
    """Whether diffusers' last step has no length: its lowest level is the end."""
    if is_flow(config):
        ends = config["final_sigmas_type"] == "sigma_min" or like.end == "first"
        return bool(config.get("use_flow_sigmas")) and ends
    return respaced(config) and not ends_at_zero(config, like)
