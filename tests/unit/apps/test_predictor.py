"""A text-to-image pipeline as a model."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent import UserError

diffusers = pytest.importorskip("diffusers")
pipelines = pytest.importorskip(
    "tests.unit.apps.pipelines", reason="needs diffusers and transformers"
)
PROMPTS = ["a red boat", "two dogs"]


@pytest.fixture(scope="module", params=["stable_diffusion", "sdxl", "sd3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pipelines") / request.param
    getattr(pipelines, request.param)().save_pretrained(path)
    return path


def load(folder: Path, **options: Any) -> Any:
    from diffdescent.apps.textimage.predictor import load_predictor

    return load_predictor(str(folder), PROMPTS, **options)


def test_it_makes_what_the_pipeline_makes(folder: Path) -> None:
    from diffdescent.integrations.diffusers import DescentScheduler

    model = load(folder)
    grid = "uniform(spacing=trailing)"
    absent = {"text_encoder_3": None, "tokenizer_3": None} if folder.name == "sd3" else {}
    pipe = diffusers.DiffusionPipeline.from_pretrained(str(folder), local_files_only=True, **absent)
    pipe.set_progress_bar_config(disable=True)
    config = pipe.scheduler.config
    pipe.scheduler = DescentScheduler.from_config(config, recipe="ddim", grid=grid)
    noise = dd.run.noise_for(0, range(2), model.shape)
    called = {"prompt": PROMPTS, "num_inference_steps": 3, "output_type": "latent"}
    theirs = pipe(**called, latents=noise.clone()).images
    levels = pipe.scheduler._laid.grid
    scale = getattr(pipe.scheduler, "init_noise_sigma", 1.0)
    ours = dd.sample(model, "ddim", grid=levels, start=noise * scale, n=2, labels=[0, 1]).images
    assert torch.allclose(ours, theirs.float(), atol=1e-3 * float(theirs.abs().max()))
    assert not torch.allclose(ours[0], ours[1])
    images = model.info.decode(ours)
    assert images.shape[:2] == (2, 3)


def test_a_text_is_encoded_once(tmp_path: Path) -> None:
    pipelines.stable_diffusion().save_pretrained(tmp_path / "sd")
    model = load(tmp_path / "sd")
    calls = []
    encode = model.pipe.text_encoder.forward

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(1)
        return encode(*args, **options)

    model.pipe.text_encoder.forward = counted
    dd.sample(model, "ddim", steps=4, n=2, labels=[1, 1])
    assert 0 < len(calls) <= 2  # the prompt and the empty one


def test_another_scale_and_other_prompts_are_another_model(tmp_path: Path) -> None:
    pipelines.stable_diffusion().save_pretrained(tmp_path / "sd")
    usual, strong = load(tmp_path / "sd"), load(tmp_path / "sd", options={"guidance_scale": 9.0})
    assert usual.info.fingerprint != strong.info.fingerprint
    x, at = torch.ones(1, *usual.shape), usual.process.point(500.0)
    assert not torch.allclose(usual(x, at).raw, strong(x, at).raw)


def test_a_comparison_with_prompts(tmp_path: Path) -> None:
    pipelines.stable_diffusion().save_pretrained(tmp_path / "sd")
    found = dd.compare(
        str(tmp_path / "sd"), "ddim; unipc", prompts=PROMPTS, nfe=3, n=4, solution=8, resamples=0
    )
    assert len(found.results.lines) == 2
    assert set(found.results.lines[0].metrics) >= {"solution_rmse", "solution_feature"}
    assert found.results.pictures[found.results.study.cells[0].key].shape[1:] == (3, 16, 16)


def test_what_cannot_be_asked_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="takes no prompt"):
        dd.compare("mnist", prompts=PROMPTS)
    pipelines.stable_diffusion().save_pretrained(tmp_path / "sd")
    with pytest.raises(UserError, match="--prompts FILE"):
        dd.compare(str(tmp_path / "sd"))
    with pytest.raises(UserError, match="own guidance is off"):
        load(tmp_path / "sd", options={"guidance_scale": 3.0}, bare=True)


def test_packed_latents_are_refused() -> None:
    from diffdescent.apps.textimage.predictor import PipelinePredictor

    class Packed:
        """Calls its network on tokens, as Flux does."""

        scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
        device = "cpu"

        def __call__(self, **options: Any) -> None:
            tokens = torch.zeros(1, 16, 64)
            self.scheduler.step(tokens, 0.5, tokens)

    with pytest.raises(UserError, match="no latents of shape"):
        PipelinePredictor(Packed(), PROMPTS, {}, "packed")


def test_the_lines_of_a_comparison_repeat_what_was_measured(tmp_path: Path) -> None:
    from diffdescent.integrations.diffusers import DescentScheduler

    from diffdescent.lab.study import recommendations

    made = pipelines.sdxl()
    made.save_pretrained(tmp_path / "sdxl")
    found = dd.compare(
        str(tmp_path / "sdxl"),
        "unipc",
        prompts=PROMPTS[:1],
        nfe=8,
        n=1,
        solution=64,
        resamples=0,
        metrics=["solution_rmse"],
    )
    config = found.results.study.config.model_copy(update={"prompts": "prompts.txt"})
    study = replace(found.results.study, config=config)
    (best,) = recommendations(replace(found.results, study=study))
    assert best.grid is None  # it is unipc's own, but not that of the pipeline's config
    assert best.diffusers is not None
    assert "grid='loglinear" in best.diffusers
    scope = {"pipe": made, "DescentScheduler": DescentScheduler}
    exec(best.diffusers, scope)
    steps = int(best.diffusers.partition("num_inference_steps=")[2].split(",")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the level that is left out
        made.scheduler.set_timesteps(steps)
    assert len(made.scheduler.timesteps) == 8
    assert str(best.python).startswith("no line")  # dd.load_model reads no such folder
    assert best.cli is not None
    assert "--labels" not in best.cli  # prompts stand for labels
