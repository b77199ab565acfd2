"""A calibrated sampler in every front end: it works, or says why it does not."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent import UserError
from diffdescent.apps.exported_levels import exported
from diffdescent.core.network import Network
from diffdescent.core.process import VE, VP, Flow
from diffdescent.core.recipe import parse, parse_grid
from diffdescent.core.spectrum import Bands
from diffdescent.core.spectrum.axes import named_axes
from diffdescent.core.spectrum.fitted import FittedRow, FittedSolver, load_fitted
from diffdescent.run.calibrate.plain import as_rows
from tests.end_to_end.cli.test_commands import run

SIZE = 8
PROCESS = VP.named()
GRID = "exponential(start=40.0, last=0.1)"


def curved(channels: int, start: bool) -> FittedSolver:
    """The rows of ``ge`` with a little slope over the frequency, for images of these channels."""
    plain = as_rows(parse("ge").plan(parse_grid(GRID, PROCESS, 4)), channels)
    axes, bands = named_axes("usual", channels), Bands.for_size(SIZE, 3)

    def sloped(curves: Any) -> Any:
        value = curves[0][0]
        curve = tuple(value * (1 + 0.02 * k) for k in range(bands.count))
        return (curve,) * axes.count

    rows = tuple(FittedRow(sloped(r.base), tuple(map(sloped, r.evals))) for r in plain.rows)
    ones = ((1.0,) * bands.count,) * axes.count
    first = tuple(tuple(1.1 for _ in c) for c in ones) if start else ones
    return FittedSolver("curved", plain.levels, plain.end, axes, bands, first, rows)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """One that leaves the start alone."""
    path = tmp_path / "curved.json"
    path.write_text(curved(1, False).to_json())
    return path


@pytest.fixture
def scaled(tmp_path: Path) -> Path:
    """One that scales the start."""
    path = tmp_path / "scaled.json"
    path.write_text(curved(1, True).to_json())
    return path


def model() -> Network:
    def eps(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
        return torch.tanh(x + 0.3 * x.roll(1, -1))

    return Network(eps, process=PROCESS, kind="eps", shape=(1, SIZE, SIZE))


def images(recipe: str, **options: Any) -> torch.Tensor:
    return dd.sample(model(), recipe, n=2, **options).images


pytestmark = pytest.mark.filterwarnings("ignore:.*was fitted for")


def test_the_nodes_of_comfyui_walk_the_files_levels(file: Path, scaled: Path, host: Any) -> None:
    from diffdescent.apps import comfyui as nodes

    for path in (file, scaled):
        recipe = f"calibrated('{path}')"
        assert nodes.SamplerNode.VALIDATE_INPUTS(recipe) is True
        assert nodes.SchedulerNode.VALIDATE_INPUTS(recipe) is True
        (sigmas,) = nodes.SchedulerNode().make(host, recipe, 10, 1.0)
        wanted = torch.tensor([*load_fitted(path).levels, 0.0])
        assert torch.allclose(sigmas, wanted, rtol=1e-5)
        with pytest.raises(UserError, match="denoise to 1"):
            nodes.SchedulerNode().make(host, recipe, 10, 0.5)
    wrong = nodes.SamplerNode.VALIDATE_INPUTS("calibrated('missing.json')")
    assert "cannot be read" in str(wrong)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As much of the host as a scheduler node asks for: a model with a table of levels."""
    import sys
    from types import ModuleType

    class Sampling:
        sigmas = torch.tensor([float(PROCESS.ratio(float(t))) for t in range(1000)])

    comfy, sampling = ModuleType("comfy"), ModuleType("comfy.model_sampling")
    sampling.CONST = type("CONST", (), {})  # type: ignore[attr-defined]
    sampling.ModelSamplingFlux = type("Flux", (), {})  # type: ignore[attr-defined]
    sampling.ModelSamplingDiscrete = Sampling  # type: ignore[attr-defined]
    comfy.model_sampling = sampling  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "comfy", comfy)
    monkeypatch.setitem(sys.modules, "comfy.model_sampling", sampling)

    class Model:
        def get_model_object(self, name: str) -> Any:
            return Sampling()

    return Model()


def test_kdiffusion_makes_the_same_images(file: Path, scaled: Path) -> None:
    from diffdescent.integrations.kdiffusion import get_sigmas, sampler

    net = model()

    def denoised(x: torch.Tensor, sigma: torch.Tensor, **options: Any) -> torch.Tensor:
        point = dd.core.grid.explicit_ratios(PROCESS, [float(sigma[0]), 0.0]).points[0]
        return net(x * point.alpha, point).to("x0", x * point.alpha)

    for path in (file, scaled):
        recipe = f"calibrated('{path}')"
        sigmas = get_sigmas(99, recipe, PROCESS)
        noise = dd.run.noise_for(0, range(2), (1, SIZE, SIZE))
        start = noise * float((1 + sigmas[0] ** 2).sqrt())
        made = sampler(recipe, process=PROCESS)(denoised, start, sigmas)
        assert torch.allclose(made, images(recipe), atol=1e-3)


def test_the_scheduler_takes_one_that_leaves_the_start_alone(file: Path, scaled: Path) -> None:
    from diffdescent.integrations.diffusers import DescentScheduler

    net, noise = model(), dd.run.noise_for(0, range(2), (1, SIZE, SIZE))
    scheduler = DescentScheduler(recipe=f"calibrated('{file}')")
    scheduler.set_timesteps(30)
    assert len(scheduler.timesteps) == 4
    x = noise * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(net(x, PROCESS.point(float(t))).raw, t, x).prev_sample
    assert torch.allclose(x, images(f"calibrated('{file}')"), atol=1e-4)
    refused = DescentScheduler(recipe=f"calibrated('{scaled}')")
    refused.set_timesteps(4)
    with pytest.raises(UserError, match="--plain-start"):
        refused.step(noise, refused.timesteps[0], noise)


def test_text_to_image_and_attach(tmp_path: Path) -> None:
    pipelines = pytest.importorskip("tests.unit.apps.pipelines")
    folder = tmp_path / "sd"
    pipelines.stable_diffusion().save_pretrained(folder)
    paths = {start: tmp_path / f"{start}.json" for start in (False, True)}
    for start, path in paths.items():
        path.write_text(latent(start).to_json())
    words = ["sample", folder, "--prompt", "a boat", "--out", tmp_path / "out"]
    done = run(*words, "--sampler", f"calibrated('{paths[False]}')")
    assert "1 image with calibrated" in done.stdout
    assert "4 steps" in done.stdout
    # In a pipeline pxp acts on the guided estimate, not on the step.
    for number, guidance in enumerate(("cfg(scale=3)", "cfg | pxp")):
        out = tmp_path / f"guided{number}"
        sampler = f"calibrated('{paths[False]}')"
        guided = run(*words[:-1], out, "--sampler", sampler, "--guidance", guidance)
        assert "1 image with calibrated" in guided.stdout
    failed = run(*words[:-1], tmp_path / "no", "--sampler", f"calibrated('{paths[True]}')", code=2)
    assert "--plain-start" in failed.stderr


def latent(start: bool) -> FittedSolver:
    """For four latent channels, on levels that a latent model has."""
    solver = curved(4, start)
    return dataclasses.replace(solver, levels=(12.0, 4.0, 1.5, 0.3))


@pytest.mark.parametrize("more", ["momentum(-0.2)", "pnm(0.2)", "threshold()"])
def test_momentum_and_thresholds_act(file: Path, more: str) -> None:
    plain = images(f"calibrated('{file}')")
    chained = images(f"calibrated('{file}') | {more}")
    assert torch.isfinite(chained).all()
    assert not torch.allclose(chained, plain, atol=1e-3)


def test_a_threshold_that_keeps_eps_and_gradient_estimation_are_refused(file: Path) -> None:
    with pytest.raises(UserError, match="eps=recompute"):
        images(f"calibrated('{file}') | threshold(eps=keep)")
    with pytest.raises(UserError, match="leave ge out"):
        images(f"calibrated('{file}') | ge")


def test_inpainting_keeps_the_region(file: Path, scaled: Path) -> None:
    known = torch.linspace(-1, 1, SIZE * SIZE).reshape(1, 1, SIZE, SIZE)
    mask = (torch.arange(SIZE * SIZE).reshape(1, SIZE, SIZE) % 2).float()
    for path in (file, scaled):
        made = images(f"calibrated('{path}')", init=known, mask=mask)
        kept = mask.expand_as(made).bool()
        assert torch.allclose(made[kept], known.expand_as(made)[kept], atol=1e-5)
        assert not torch.allclose(made[~kept], known.expand_as(made)[~kept], atol=1e-2)


def test_from_an_image_it_is_refused(file: Path) -> None:
    with pytest.raises(UserError, match="start from noise, not from an image"):
        images(f"calibrated('{file}')", init=torch.zeros(2, 1, SIZE, SIZE), strength=0.5)


def test_pxp_is_refused() -> None:
    under = {"guidance": "classifier(scale=1) | pxp", "labels": 1}
    with pytest.raises(UserError, match="use pxp with another sampler"):
        dd.sample("cifar10", "calibrated('cifar10-mixture-unlabelled-5')", n=1, **under)  # type: ignore[arg-type]


def test_explain_weights_and_list_show_it(file: Path, tmp_path: Path) -> None:
    recipe = f"calibrated('{file}')"
    shown = run("explain", recipe, "--out", tmp_path / "out").stdout
    assert "hold there alone" in shown
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "explain.json", "settings.json", "weights.png", "bands.png",
    }  # fmt: skip
    assert "In the result, by radial frequency" in run("weights", recipe).stdout
    listed = json.loads(run("list", "calibrated", "--json").stdout)["calibrated"]
    assert listed["calibrated('mnist-unlabelled-5')"]["evaluations"] == "5"
    assert listed["calibrated('mnist-unlabelled-5')"]["fitted for"] == "mnist, without labels"


def test_levels_for_other_programs(file: Path) -> None:
    recipe, levels = f"calibrated('{file}')", load_fitted(file).levels
    found = exported(recipe, PROCESS, 99)
    assert found.sigmas == pytest.approx((*levels, 0.0))
    assert found.timesteps == tuple(round(float(PROCESS.t_of_ratio(v))) for v in levels)
    done = run("grid", recipe, "--export", "comfyui")
    assert [float(v) for v in done.stdout.split(",")] == pytest.approx([*levels, 0.0], rel=1e-6)
    assert "fitted together with the coefficients" in done.stderr
    done = run("grid", recipe, "--export", "diffusers")
    assert done.stdout.startswith("sigmas=[")
    assert "timesteps=[" in done.stdout
    assert "fitted together" not in run("grid", "karras", "--export", "comfyui").stderr
    assert "Unknown program" in run("grid", "karras", "--export", "other", code=2).stderr
    flow = exported("uniform(spacing=trailing)", Flow(shift=3.0), 4)
    assert flow.sigmas[0] == 1.0
    assert flow.timesteps == pytest.approx([1000 * s for s in flow.sigmas[:-1]])
    assert exported("karras(start=10.0)", VE(), 3).timesteps[0] > 0


def test_diffusers_takes_the_levels(file: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    found = exported(f"calibrated('{file}')", PROCESS, 4)
    euler = diffusers.EulerDiscreteScheduler(beta_schedule="linear")
    euler.set_timesteps(sigmas=list(found.sigmas))
    assert torch.allclose(euler.sigmas.float(), torch.tensor(found.sigmas), rtol=1e-4)
    solver = diffusers.DPMSolverMultistepScheduler(beta_schedule="linear")
    solver.set_timesteps(timesteps=[int(t) for t in found.timesteps])
    assert solver.timesteps.tolist() == list(found.timesteps)
