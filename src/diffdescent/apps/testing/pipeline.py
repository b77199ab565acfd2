"""A pipeline's part around a scheduler: start, loop and noised images; and how near to x* it
ends."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .findings import Skip
from .networks import clean, noise, oracle

Factory = Callable[[], Any]

STEPS = 8
NEAR = 0.12
"""How far from x* a run may end: a last level of σ = 0.03 leaves that much of a unit normal."""


def laid_out(make: Factory, steps: int = STEPS) -> Any:
    """A scheduler after ``set_timesteps``."""
    scheduler = make()
    scheduler.set_timesteps(
        steps, **({"mu": 0.7} if scheduler.config.get("use_dynamic_shifting") else {})
    )
    return scheduler


def run(
    scheduler: Any,
    x: Tensor,
    first: int = 0,
    network: Callable[[Any, Tensor, float], Tensor] = oracle,
    generator: Any = None,
    between: Callable[[int, Tensor], Tensor] | None = None,
    last: int | None = None,
) -> Tensor:
    """The loop of a pipeline over ``timesteps[first:last]``; ``between`` edits the sample after
    each step."""
    extra = {}
    if "generator" in inspect.signature(scheduler.step).parameters:
        extra["generator"] = (
            generator if generator is not None else torch.Generator().manual_seed(1)
        )
    for i, t in enumerate(scheduler.timesteps[first:last], start=first):
        shown = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(network(scheduler, shown, float(t)), t, x, **extra, return_dict=False)[0]
        if between is not None and i + 1 < len(scheduler.timesteps):
            x = between(i, x)
    return x


def initial(scheduler: Any) -> Tensor:
    """What a pipeline starts from."""
    return noise() * float(getattr(scheduler, "init_noise_sigma", 1.0))


def noised(scheduler: Any, images: Tensor, eps: Tensor, t: Tensor) -> Tensor:
    """``images`` at time ``t`` of shape (B,), by ``add_noise`` or ``scale_noise``."""
    if hasattr(scheduler, "add_noise"):
        return scheduler.add_noise(images, eps, t)  # type: ignore[no-any-return]
    if hasattr(scheduler, "scale_noise"):
        return scheduler.scale_noise(images, t, eps)  # type: ignore[no-any-return]
    raise Skip("no add_noise or scale_noise")


def near(x: Tensor, what: str, target: Tensor | None = None, tolerance: float = NEAR) -> None:
    """Fail unless ``x`` is within ``tolerance`` of the target (x*)."""
    off = float((x.float() - (clean() if target is None else target).float()).abs().max())
    assert off <= tolerance, f"{what}: off by {off:.3g}"


def starts(scheduler: Any) -> list[int]:
    """The indices at which pipelines begin: t_start times the order."""
    return [
        k * scheduler.order for k in range(STEPS) if k * scheduler.order < len(scheduler.timesteps)
    ]
