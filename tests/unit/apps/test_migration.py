"""Every row of docs/migration.md: our texts are read, and run or compared with what they stand
for."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import diffdescent as dd
from diffdescent.apps import kdiffusion
from diffdescent.core.process import VP, Flow, Process
from diffdescent.core.recipe import GRID_ALIASES, parse, parse_grid
from diffdescent.core.recipe.names import normal
from tests.parity.golden import Replay, error, mixture_eps, run, start
from tests.parity.live import DRAWS, scheduler
from tests.paths import ROOT

__all__ = ["scheduler"]

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array_:DeprecationWarning"
)  # diffusers' use of numpy

PAGE = (ROOT / "docs" / "migration.md").read_text()
STEPS = 10


def table(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading, without its head, code marks and escapes."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\|(.*)\|$", section, re.MULTILINE)[2:]
    cells = [re.split(r"(?<!\\)\|", row) for row in rows]
    return [[cell.strip().strip("`").replace("\\|", "|") for cell in row] for row in cells]


DIFFUSERS = table("diffusers")
SAMPLERS = table("A1111, ComfyUI, k-diffusion: samplers")
SCHEDULES = table("A1111, ComfyUI, diffusers: schedules")


class Asked(NamedTuple):
    name: str
    config: dict[str, Any]


def asked(text: str) -> Asked:
    """``Name(key=value)`` as its name and values."""
    call = ast.parse(text, mode="eval").body
    assert isinstance(call, ast.Call)
    assert isinstance(call.func, ast.Name)
    return Asked(call.func.id, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords})


def network(made: Any, process: Process, i: int, t: float) -> tuple[float, float]:
    """(α, σ) of the level at which a scheduler wants the network: its own σ̃, or its trained
    index."""
    if not hasattr(made, "sigmas"):
        bar = float(made.alphas_cumprod[int(t)])
        return bar**0.5, (1 - bar) ** 0.5
    first = getattr(made, "state_in_first_order", True)
    inner = getattr(made, "sigmas_interpol", None)
    if inner is not None and not first:
        ratio = float(inner[made.step_index - ("Ancestral" in type(made).__name__)])
    else:
        ratio = float(made.sigmas[i if made.step_index is None else made.step_index])
    alpha, sigma = process.scaled(ratio)
    return float(alpha), float(sigma)


def theirs(made: Any) -> Tensor:
    """What a pipeline does with a scheduler; the network is the exact denoiser of the state that it
    is handed."""
    made_input = start()
    x = made_input * float(made.init_noise_sigma)
    for i, t in enumerate(made.timesteps):
        shown = made.scale_model_input(x, t)
        eps = mixture_eps(shown, *network(made, VP.named(), i, float(t)))
        x = made.step(eps, t, x).prev_sample
    return x


@pytest.mark.parametrize(
    "row", [r for r in DIFFUSERS if not r[0].startswith("Flow")], ids=lambda row: row[0]
)
def test_diffusers_schedulers(scheduler: Callable[..., Any], row: list[str]) -> None:
    text, recipe, grid, scale = row
    name, config = asked(text)
    module = getattr(diffusers, name).__module__.rpartition("scheduling_")[2]
    made = scheduler(module, name, STEPS, **config)
    levels = parse_grid(grid, VP.named(), STEPS)
    assert levels.steps == STEPS
    chosen = parse(recipe)
    x = start(1.0 if scale == "1" else float(levels.sigma[0]))
    ours = run(
        chosen.plan(levels),
        x,
        noise=Replay(DRAWS),
        estimates=chosen.estimates,
        displacements=chosen.displacements,
    )
    assert error(ours.final, theirs(made)) < 1e-9


def test_flow_matching() -> None:
    (row,) = [r for r in DIFFUSERS if r[0].startswith("Flow")]
    name, config = asked(row[0])
    made = getattr(diffusers, name)(**config)
    made.set_timesteps(STEPS)
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def velocity(x: Tensor, t: float) -> Tensor:
        """(x − D)/t for data of variance ¼ around ``image``."""
        gain = 0.25 * (1 - t) / (0.25 * (1 - t) ** 2 + t**2)
        return (x - image - gain * (x - (1 - t) * image)) / t

    x = noise = start()[:1].float().double()
    for i, t in enumerate(made.timesteps):
        x = made.step(velocity(x, float(made.sigmas[i])).float(), t, x.float()).prev_sample.double()
    levels = parse_grid(row[2], Flow(), STEPS)
    assert levels.t.tolist() == pytest.approx(made.sigmas.tolist(), abs=1e-6)
    function = kdiffusion.sampler(row[1], process=Flow())
    ours = function(
        lambda x, s: x - s.view(-1, 1, 1, 1) * velocity(x, float(s[0])),
        noise,
        levels.t,
        disable=True,
    )
    assert error(ours, x) < 1e-5


@pytest.mark.parametrize("row", SAMPLERS, ids=lambda row: row[-1])
def test_sampler_names(row: list[str]) -> None:
    *names, recipe = row
    assert any(names)
    for name in filter(None, names):
        assert parse(name) == parse(recipe), name
    if row[2]:
        assert row[2] in kdiffusion.names()


@pytest.mark.parametrize("row", SCHEDULES, ids=lambda row: row[-1])
def test_schedule_names(row: list[str]) -> None:
    process = VP.named("scaled_linear")
    levels = parse_grid(row[-1], process, STEPS)
    for name in row[:2]:
        if name in ("Uniform", "DDIM"):  # names of samplers or grids of our own
            continue
        text = GRID_ALIASES.get(normal(name), name)
        assert np.array_equal(parse_grid(text, process, STEPS).ratio, levels.ratio), name


def comfyui(name: str, steps: int) -> Sequence[float]:
    """ComfyUI's schedules by their formulas: indices into the σ of the 1000 trained levels, or σ
    themselves."""
    process = VP.named("scaled_linear")
    sigma = process.ratio(np.arange(1000))
    if name == "simple":
        index = 999 - np.floor(np.arange(steps) * 1000 / steps)
    elif name == "ddim_uniform":
        index = np.arange(1, 1000, 1000 // steps)[::-1]
    elif name == "beta":
        index = np.rint(stats.beta.ppf(1 - np.arange(steps) / steps, 0.6, 0.6) * 999)
    elif name in ("normal", "sgm_uniform"):
        index = np.linspace(999, 0, steps + (name == "sgm_uniform"))[:steps]
        return [*np.exp(np.interp(index, np.arange(1000), np.log(sigma))), 0.0]
    elif name == "karras":
        ramp = np.linspace(0, 1, steps)
        return [*((1 - ramp) * sigma[-1] ** (1 / 7) + ramp * sigma[0] ** (1 / 7)) ** 7, 0.0]
    elif name == "exponential":
        return [*np.geomspace(sigma[-1], sigma[0], steps), 0.0]
    else:
        raise ValueError(name)
    return [*sigma[index.astype(int)], 0.0]


@pytest.mark.parametrize(
    "row", [r for r in SCHEDULES if r[1] != "align_your_steps"], ids=lambda row: row[1]
)
@pytest.mark.parametrize("steps", [10, 20])
def test_comfyui_schedules(row: list[str], steps: int) -> None:
    expected = comfyui(row[1], steps)
    ours = parse_grid(row[3], VP.named("scaled_linear"), steps).ratio.tolist()
    loose = row[1] in ("normal", "sgm_uniform")
    assert ours == pytest.approx(expected, rel=1e-3 if loose else 1e-9)


OTHER_NAMES = PAGE.split("\nNames that stand for something else")[1].split("\n## ")[0]
"""The list of names that are no row of a table."""


def entry(name: str) -> str:
    """What the list says after ``name``, on one line."""
    (found,) = [
        " ".join(said.split())
        for said in re.split(r"\n\* ", OTHER_NAMES)[1:]
        if name in said.partition(":")[0]
    ]
    return found.partition(":")[2]


@pytest.mark.parametrize(
    ("name", "recipe", "grid", "steps"),
    [
        ("er_sde", "er_sde(released=true)", None, 4),
        ("sa_solver", "sa", None, 4),
        ("LCMScheduler", "lcm", "distilled", 4),
        ("TCDScheduler", "tcd(gamma=0.3)", "distilled(end=first)", 4),
        ("CogVideoXDDIMScheduler", "ddim", None, 4),
        ("CogVideoXDPMScheduler", "dpmpp(eta=1, lower_order_final=never)", None, 4),
        ("dpm_fast", "dpm(order=3, method=singlestep, orders=[3, 3, 2, 1])", "logsnr", 4),
        ("res_multistep_ancestral", "dpmpp(method=singlestep, eta=1)", None, 4),
    ],
)
def test_names_that_stand_for_something_else(
    name: str, recipe: str, grid: str | None, steps: int
) -> None:
    said = entry(name)
    assert f"`{recipe}`" in said
    assert grid is None or f"`{grid}`" in said
    result = dd.sample("cifar10-mixture", recipe, grid=grid, steps=steps, n=1)
    assert result.images.isfinite().all()
    assert result.images.abs().max() < 4, "the data lie in [−1, 1]"
    if name == "dpm_fast":
        assert result.nfe == 9


@pytest.mark.parametrize("name", ["dpm_adaptive", "Restart", "seeds_2"])
def test_names_that_are_not_here_have_a_reason(name: str) -> None:
    assert entry(name).strip().startswith("not here")
    with pytest.raises(dd.UserError):
        parse(name.lower())


def test_a_flow_is_sampled_by_the_same_stochastic_recipe() -> None:
    assert "the same recipe" in entry("`dpmpp_2m_sde` on a flow")
    image = torch.linspace(-1, 1, 64).view(1, 1, 8, 8)
    flow = dd.Network(
        lambda x, t, cond: (x - image) / t.view(-1, 1, 1, 1).clamp_min(1e-6),
        process=Flow(),
        kind="flow",
        shape=(1, 8, 8),
    )
    result = dd.sample(flow, "dpmpp_2m_sde", steps=6, n=2)
    assert result.images == pytest.approx(image.expand(2, -1, -1, -1), abs=1e-4)


def test_the_tables_are_read() -> None:
    assert len(DIFFUSERS) > 20
    assert len(SAMPLERS) > 15
    assert len(SCHEDULES) == 8
