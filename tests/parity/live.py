"""Running diffusers' schedulers in float64 from the recorded noise, with the exact denoiser."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffdescent.core.process import VE, Process
from tests.parity.golden import common, mixture_eps, start

TOLERANCE = 1e-10
LINEAR = {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02}
DRAWS = list(range(24))
SPACINGS = ("leading", "linspace", "trailing")


class Wide:
    """A module whose ``float32`` is float64: diffusers rounds its σ̃ and its states to single
    precision otherwise."""

    def __init__(self, module: ModuleType, float64: Any) -> None:
        self._module, self.float32 = module, float64

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


@pytest.fixture
def scheduler(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Make a scheduler that computes in float64 and draws the recorded noise."""

    def make(module_name: str, class_name: str, steps: int, **config: Any) -> Any:
        module = importlib.import_module(f"diffusers.schedulers.scheduling_{module_name}")
        monkeypatch.setattr(module, "torch", Wide(torch, torch.float64))
        monkeypatch.setattr(module, "np", Wide(np, np.float64))
        if hasattr(module, "randn_tensor"):
            draws = bank()
            monkeypatch.setattr(module, "randn_tensor", lambda *a, **k: next(draws))
        made = getattr(module, class_name)(**LINEAR, **config)
        made.set_timesteps(steps)
        return made

    return make


def bank() -> Iterator[Tensor]:
    """The recorded draws, one after the other."""
    return (torch.tensor(draw) for draw in common("noise_bank"))


def theirs(
    scheduler: Any, process: Process, level: Callable[[Any, int], float] | None = None
) -> Tensor:
    """The scheduler's loop over its timesteps; ``level`` is the σ̃ at which it wants the
    network."""
    level = level or (lambda s, i: float(s.sigmas[i]))
    x = start(float(scheduler.sigmas[0]) if isinstance(process, VE) else 1.0)
    for i, t in enumerate(scheduler.timesteps):
        scheduler.scale_model_input(x, t)
        ratio = level(scheduler, i)
        alpha, sigma = process.scaled(ratio)
        x = scheduler.step(mixture_eps(x, float(alpha), float(sigma)), t, x).prev_sample
    return x
