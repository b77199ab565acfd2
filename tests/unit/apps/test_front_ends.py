"""One text, one sampler: every registered name with each of its variants is the same recipe when it
is written back, and gives the same images through every front end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.apps import kdiffusion
from diffdescent.base.errors import UserError
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import VP, Point
from diffdescent.core.recipe import ALIASES, SCHEDULERS, TRANSFORMS, parse, parse_grid
from diffdescent.core.recipe.names import normal
from diffdescent.core.solvers import SOLVERS
from tests.parity.golden import error

pytest.importorskip("diffusers")

from diffdescent.apps.diffusers import DescentScheduler, attach, detach

SEED, SCALE, STEPS = 7, 3.0, 7
GRID = "uniform(spacing=trailing)"
SHAPE = (3, 4, 4)

TEXTS = sorted(
    {
        str(dd.Recipe(SOLVERS[name](**options)))
        for name in SOLVERS
        for options in SOLVERS[name].variants
    }
    | {"pndm(released=true)", "heun(clock=time)", "ge(last=plain)"}
)
"""Every solver with each of its option sets."""

GUIDED = ("apg", "rescale", "pxp", "pxp_free")
"""Transforms of what guidance adds; a network without guidance has nothing for them."""

CHAINS = [f"ddim(eta=0.5) | {name}" for name in sorted(TRANSFORMS) if name not in (*GUIDED, "ge")]
CHAINS += ["ge", "ge | momentum", "plms(start=heun) | momentum", "unipc | threshold"]

CHURNS = "raises the noise before the first evaluation"
REFUSED = {"euler(s_churn=4.0)": CHURNS, "heun(s_churn=4.0)": CHURNS}
"""What DescentScheduler cannot run: a pipeline has asked the network before the noise is raised."""


def answer(x: Tensor, t: float) -> Tensor:
    """What the network says; its time is a single-precision number, as timesteps are."""
    told = float(np.float32(t))
    return torch.sin(x + told / 400) * 0.6 + 0.3 * x.roll(1, dims=-1)


def halves(x: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """The answers without a condition and with it."""
    return answer(x, t), answer(x, t + 40) * 0.9


def guided(x: Tensor, t: float) -> Tensor:
    without, with_it = halves(x, t)
    return without + (with_it - without) * SCALE


class Network:
    """A linear VP network that predicts ε."""

    shape = SHAPE
    process = VP.named()

    def __init__(self, says: Any = answer) -> None:
        self.says = says

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        return Prediction(self.says(x, point.t), conversion("eps", point))


def start(dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, *SHAPE, generator=generator, dtype=torch.float64).to(dtype)


def plain(text: str, says: Any = answer, dtype: torch.dtype = torch.float32) -> Tensor:
    """The images of ``dd.sample``."""
    return dd.sample(
        Network(says), text, grid=GRID, steps=STEPS, start=start(dtype), seed=SEED, dtype=dtype
    ).images


def scheduled(text: str, says: Any = answer) -> Tensor:
    """The images of a pipeline's loop."""
    scheduler = DescentScheduler(text, grid=GRID, noise_seed=SEED, clip_sample=False)
    scheduler.set_timesteps(STEPS)
    x = start() * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(says(x, float(t)), t, x).prev_sample
    return x


@pytest.mark.parametrize("text", [*TEXTS, *CHAINS, *ALIASES, *SCHEDULERS, *TRANSFORMS])
def test_a_recipe_is_read_back(text: str) -> None:
    recipe = parse(text)
    assert parse(str(recipe)) == recipe
    assert str(parse(str(recipe))) == str(recipe)


@pytest.mark.parametrize("text", [*TEXTS, *CHAINS, *ALIASES, *SCHEDULERS])
@pytest.mark.parametrize("config", [{}, {"prediction_type": "flow_prediction"}])
def test_a_scheduler_reads_its_own_recipe_back(text: str, config: dict[str, str]) -> None:
    """However a recipe is spelled, the scheduler is that recipe with what the config adds."""
    made = DescentScheduler(text, **config)
    written = DescentScheduler(str(parse(text)), **config)
    assert written.recipe == made.recipe
    again = DescentScheduler(str(made.recipe), **config)
    assert again.recipe == made.recipe


@pytest.mark.parametrize("name", sorted(SOLVERS))
def test_spelling_means_nothing(name: str) -> None:
    for spelled in (f"{name}()", name.upper(), f" {name} ", f"{name.capitalize()} ( )"):
        assert normal(spelled.strip("( )")) == name
        assert parse(spelled) == parse(name)
        assert DescentScheduler(spelled).recipe == DescentScheduler(name).recipe


@pytest.mark.parametrize("text", [t for t in (*TEXTS, *CHAINS) if t not in REFUSED])
def test_diffusers_is_python_to_the_bit(text: str) -> None:
    assert torch.equal(scheduled(text), plain(text))


@pytest.mark.parametrize("text", REFUSED)
def test_refused_by_the_scheduler(text: str) -> None:
    assert text in TEXTS
    with pytest.raises(UserError, match=REFUSED[text]):
        scheduled(text)


@pytest.mark.parametrize("text", [*TEXTS, *CHAINS])
def test_k_diffusion_is_python(text: str) -> None:
    """In k-diffusion's coordinates x/α, rounded differently."""
    levels = parse_grid(GRID, Network.process, STEPS)
    function = kdiffusion.sampler(text, process=Network.process)
    x = start(torch.float64) / float(levels.alpha[0])
    denoiser = kdiffusion.wrap(Network(smooth))
    for model in (denoiser, lambda *a, **b: denoiser(*a, **b)):
        ended = function(model, x, levels.ratio.copy(), seed=SEED, disable=True)
        assert error(ended, plain(text, smooth, torch.float64)) < 1e-9


def smooth(x: Tensor, t: float) -> Tensor:
    """:func:`answer` for a time that is found from σ, up to its last bits."""
    return torch.sin(x + t / 400) * 0.6 + 0.3 * x.roll(1, dims=-1)


class Pipe:
    """What ``attach`` needs of a pipeline: a denoiser that is asked both questions in one batch."""

    class Denoiser(torch.nn.Module):
        def forward(self, x: Tensor, t: float) -> Tensor:
            without, with_it = x.chunk(2)
            return torch.cat([halves(without, t)[0], halves(with_it, t)[1]])

    def __init__(self, scheduler: DescentScheduler) -> None:
        self.unet, self.scheduler = Pipe.Denoiser(), scheduler

    def __call__(self, scale: float) -> Tensor:
        self.scheduler.set_timesteps(STEPS)
        x = start() * self.scheduler.init_noise_sigma
        for t in self.scheduler.timesteps:
            without, with_it = self.unet(torch.cat([x, x]), float(t)).chunk(2)
            merged = without + (with_it - without) * scale
            x = self.scheduler.step(merged, t, x).prev_sample
        return x


@pytest.mark.parametrize("text", [t for t in (*TEXTS, *CHAINS) if t not in REFUSED])
def test_attached_guidance_is_a_guided_model(text: str) -> None:
    """The scale in the text takes the place of the pipeline's."""
    scheduler = DescentScheduler(text, grid=GRID, noise_seed=SEED, clip_sample=False)
    pipe = Pipe(scheduler)
    attach(pipe, f"cfg(scale={SCALE})", form="uncond-cond")
    assert torch.equal(pipe(1.5), plain(text, guided))
    detach(pipe)
