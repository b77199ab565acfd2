"""Each of diffusers' class names that we know gives the images of that class with its default
options: ``dd.sample`` against the scheduler's own loop, from the same start and noise."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.core.noise import Keyed
from diffdescent.core.predict import Kind, Prediction, conversion
from diffdescent.core.process import VP, Flow, Point, Process
from diffdescent.core.recipe import SCHEDULERS
from tests.parity.golden import error
from tests.parity.live import LINEAR, Wide

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array_:DeprecationWarning"
)  # diffusers' use of numpy

CLASSES = {
    name: next(c for c in dir(diffusers) if c.lower() == name) for name in sorted(SCHEDULERS)
}
STEPS = [4, 5, 7, 10, 14, 15, 16, 20, 33]
RATIOS = ("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler",
          "LMSDiscreteScheduler")  # fmt: skip
"""The schedulers whose states are x/α."""
SEED, BATCH = 11, 2
SHAPE = (3, 4, 4)


def answer(x: Tensor, t: float) -> Tensor:
    """What the network says at time ``t``, as it is told it: smooth in both, without symmetry."""
    return torch.sin(x + t / 400) * (0.5 + 0.2 * math.cos(t / 150)) + 0.3 * x.roll(1, dims=-1)


class Network:
    """:func:`answer` as a model of a process; a flow's times are told on the scale of 1000."""

    shape = SHAPE

    def __init__(self, process: Process) -> None:
        self.process = process

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        flow = isinstance(self.process, Flow)
        kind: Kind = "flow" if flow else "eps"
        return Prediction(answer(x, point.t * 1000 if flow else point.t), conversion(kind, point))


def start(dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(BATCH, *SHAPE, generator=generator, dtype=torch.float64).to(dtype)


def drawn(dtype: torch.dtype) -> Iterator[Tensor]:
    """The noise of ``dd.sample`` for each step."""
    source = Keyed(SEED, torch.arange(BATCH))
    level = Point(0.0, 1.0, 0.0)
    step = 0
    while True:
        yield source(start(dtype), step, 0, level, level).to(dtype)
        step += 1


def theirs(made: Any, dtype: torch.dtype) -> Tensor:
    """A pipeline's loop; the start is the state in the network's coordinates."""
    x = start(dtype)
    if type(made).__name__ in RATIOS:
        x = x * (1 + float(made.sigmas[0]) ** 2) ** 0.5
    for t in made.timesteps:
        shown = made.scale_model_input(x, t) if hasattr(made, "scale_model_input") else x
        x = made.step(answer(shown, float(t)), t, x, return_dict=False)[0]
    return x


def ours(name: str, process: Process, steps: int, dtype: torch.dtype) -> Tensor:
    found = dd.sample(
        Network(process), name, steps=steps, start=start(dtype), seed=SEED, dtype=dtype
    )
    return found.images


def process_of(name: str) -> Process:
    return Flow() if name.startswith("flow") else VP.named()


def options(made: Any) -> dict[str, Any]:
    """What a scheduler was made with but for the betas, which are the network's."""
    return {k: v for k, v in made.config.items() if k[0] != "_" and not k.startswith("beta_")}


def made(monkeypatch: pytest.MonkeyPatch, name: str, steps: int, dtype: torch.dtype) -> Any:
    """diffusers' scheduler with its default options, which draws the noise of ``dd.sample``."""
    cls = getattr(diffusers, CLASSES[name])
    module = importlib.import_module(cls.__module__)
    if dtype == torch.float64:
        monkeypatch.setattr(module, "torch", Wide(torch, torch.float64))
        monkeypatch.setattr(module, "np", Wide(np, np.float64))
    if hasattr(module, "randn_tensor"):
        noise = drawn(dtype)
        monkeypatch.setattr(module, "randn_tensor", lambda *a, **k: next(noise))
    scheduler = cls(**({} if name.startswith("flow") else LINEAR))
    assert options(scheduler) == options(cls())
    scheduler.set_timesteps(steps)
    return scheduler


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_the_class_itself(
    monkeypatch: pytest.MonkeyPatch, name: str, steps: int, dtype: torch.dtype, within: float
) -> None:
    """In single precision diffusers is as released but for where its noise comes from; its Heun on
    a flow then loses a digit in (x − x0)/σ."""
    if name == "flowmatchheundiscretescheduler":
        within *= 2
    expected = theirs(made(monkeypatch, name, steps, dtype), dtype)
    assert error(ours(CLASSES[name], process_of(name), steps, dtype), expected) < within
