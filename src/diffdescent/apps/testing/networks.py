"""The networks of the checks: one that knows the clean image x*, and one that only has to be
smooth."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

SHAPE = (2, 3, 8, 8)


def clean() -> Tensor:
    """x*, with values in [−0.8, 0.8]."""
    return 1.6 * torch.rand(SHAPE, generator=torch.Generator().manual_seed(11)) - 0.8


def noise(seed: int = 0) -> Tensor:
    """A unit normal of x*'s shape."""
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def is_flow(scheduler: Any) -> bool:
    """Whether the scheduler is for networks trained by flow matching."""
    return scheduler.config.get("prediction_type") == "flow_prediction" or not hasattr(
        scheduler, "alphas_cumprod"
    )


def level(scheduler: Any, t: float) -> tuple[float, float]:
    """(α, σ) of what a network is shown at time ``t``; between trained steps log ᾱ is linear."""
    if is_flow(scheduler):
        sigma = t / scheduler.config.num_train_timesteps
        return 1 - sigma, sigma
    log_bar = torch.log(scheduler.alphas_cumprod.double())
    low = min(int(t), len(log_bar) - 1)
    high = min(low + 1, len(log_bar) - 1)
    bar = math.exp(
        float(
            log_bar[low] + (t - low) * (log_bar[high] - log_bar[low]) if t > low else log_bar[low]
        )
    )
    return math.sqrt(bar), math.sqrt(1 - bar)


def oracle(scheduler: Any, shown: Tensor, t: float) -> Tensor:
    """The output of a network that knows x*, in the scheduler's prediction type."""
    alpha, sigma = level(scheduler, t)
    x0 = clean()[: len(shown)].to(shown.dtype)
    eps = (shown - alpha * x0) / max(sigma, 1e-4)
    kind = (
        "flow_prediction"
        if is_flow(scheduler)
        else scheduler.config.get("prediction_type", "epsilon")
    )
    return {
        "epsilon": eps,
        "sample": x0,
        "v_prediction": alpha * eps - sigma * x0,
        "flow_prediction": eps - x0,
    }[kind]


def smooth(scheduler: Any, shown: Tensor, t: float) -> Tensor:
    """The output of some other network, for checks that only compare runs."""
    return 0.8 * torch.tanh(shown + math.sin(t / 150))
