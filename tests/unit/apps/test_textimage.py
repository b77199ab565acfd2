"""Text to image from the command line, with a tiny Stable Diffusion pipeline built and saved
here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from diffdescent.apps import textimage
from diffdescent.apps.prompts import read_prompts
from diffdescent.base.errors import UserError
from diffdescent.base.images import read_image
from diffdescent.core.recipe import parse
from tests.end_to_end.cli.test_commands import images, run

diffusers = pytest.importorskip("diffusers")
pipelines = pytest.importorskip(
    "tests.unit.apps.pipelines", reason="needs diffusers and transformers"
)

PROMPTS = ["a red boat", "two dogs", "", "snow on a hill", "an old clock", "a bowl of rice"]


def saved(pipe: Any, folder: Path) -> Path:
    pipe.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion folder with random weights."""
    return saved(pipelines.stable_diffusion(), tmp_path_factory.mktemp("sd") / "tiny")


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    path = tmp_path / "captions.txt"
    path.write_text("\n".join(PROMPTS))
    return path


SMALL = ("--steps", 3, "--height", 16, "--width", 16)


@pytest.mark.parametrize("sampler", ["ge", "ddim | momentum(-0.3)"])
def test_a_prompt_makes_an_image(pipeline: Path, tmp_path: Path, sampler: str) -> None:
    out = tmp_path / "out"
    done = run(
        "sample", pipeline, "--prompt", "a red boat", "--sampler", sampler, *SMALL, "--out", out
    )
    assert "1 image " in done.stdout
    assert read_image(out / "000000.png").shape == (3, 16, 16)
    record = json.loads((out / "run.json").read_text())
    asked = record["text_to_image"]
    assert asked["pipeline"] == "StableDiffusionPipeline"
    assert asked["prompt"] == "a red boat"
    assert parse(record["recipe"]) == parse(sampler)
    assert asked["scheduler"]["beta_schedule"] == "scaled_linear"
    assert asked["scheduler"]["grid"] == (
        "loglinear" if sampler == "ge" else "uniform(spacing=trailing)"
    )


def test_it_is_the_pipelines_own_image(pipeline: Path) -> None:
    """The same pipeline called by hand, with diffusers' own DDIM on the same levels, makes the same
    picture."""
    ours = textimage.load(
        pipeline, "ddim", "uniform(spacing=trailing)", steps=4, options={"height": 16, "width": 16}
    )
    (made,) = ours(["two dogs"], [5], seed=3)
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(str(pipeline))
    pipe.scheduler = diffusers.DDIMScheduler.from_config(
        pipe.scheduler.config, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True
    )
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        "two dogs",
        num_inference_steps=4,
        height=16,
        width=16,
        generator=textimage.generator_for(3, 5),
        output_type="pt",
    ).images[0]
    assert (made.float() / 255 - theirs).abs().max() < 1.5 / 255
    assert theirs.std() > 0.01


@pytest.mark.parametrize("make", ["sdxl", "sd3"])
def test_other_pipelines(make: str, tmp_path: Path) -> None:
    """Two text encoders, and flow matching: the levels are the pipeline's own unless a grid is
    asked for."""
    folder = saved(getattr(pipelines, make)(), tmp_path / make)
    small = {"height": 16, "width": 16}
    model = textimage.load(folder, "ge", steps=3, width=2, options=small)
    together = model(["a boat", "a hill"], [0, 1], seed=1)
    assert together.shape == (2, 3, 16, 16)
    assert torch.equal(model(["a hill"], [1], seed=1), together[1:])
    assert (model.record().text_to_image.scheduler["grid"] is None) == (make == "sd3")
    assert model.nfe == 3


def test_guidance_is_attached(pipeline: Path, tmp_path: Path) -> None:
    def made(*more: object) -> bytes:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        run(
            "sample",
            pipeline,
            "--prompt",
            "a boat",
            "--guidance-scale",
            20,
            *SMALL,
            *more,
            "--out",
            out,
        )
        return images(out)["000000.png"]

    plain = made()
    assert made("--guidance", "cfg") == plain
    assert made("--guidance", "cfg(scale=3)") != plain
    assert made("--guidance", "cfg | rescale(0.7)") != plain
    refused = run(
        "sample",
        pipeline,
        "--prompt",
        "a boat",
        "--guidance",
        "classifier(scale=2)",
        "--out",
        tmp_path / "x",
        code=2,
    )
    assert "classifier(model='FOLDER')" in refused.stderr
    assert not (tmp_path / "x").exists()
    with pytest.raises(UserError, match="leave scope=batch and zero=batch out"):
        textimage.load(pipeline, "ge", guidance="cfg | pxp(scope=batch)")


def test_options_reach_the_pipeline(pipeline: Path) -> None:
    def made(**options: Any) -> torch.Tensor:
        small = {"height": 16, "width": 24, **options}
        return textimage.load(pipeline, "ge", steps=2, options=small)(["snow"], [0])[0].float()

    plain = made()
    assert plain.shape == (3, 16, 24)
    assert not torch.equal(made(guidance_scale=30.0), plain)
    assert torch.equal(made(negative_prompt=""), plain)
    assert not torch.equal(
        made(negative_prompt="zebra", guidance_scale=30.0), made(guidance_scale=30.0)
    )


def test_a_prompts_file_is_one_image_a_caption_whatever_the_batches(
    pipeline: Path, captions: Path, tmp_path: Path
) -> None:
    common = ("--prompts", captions, "--sampler", "ddim(eta=1)", "--micro-batch", 2, *SMALL)
    whole, split = tmp_path / "whole", tmp_path / "split"
    run("sample", pipeline, *common, "--out", whole)
    assert sorted(images(whole)) == [
        f"{i:06d}.png" for i in range(5)
    ]  # the empty line is no prompt
    assert len({*images(whole).values()}) == 5
    for part in ("3", "0,4", "1-2"):
        run("sample", pipeline, *common, "--samples", part, "--out", split)
    assert images(split) == images(whole)
    # A run that lost files makes those, and the same ones.
    kept = (whole / "000001.png").stat().st_mtime_ns
    before = images(whole)
    (whole / "000002.png").unlink()
    done = run("sample", pipeline, *common, "--out", whole)
    assert "1 image (4 were there)" in done.stdout
    assert images(whole) == before
    assert (whole / "000001.png").stat().st_mtime_ns == kept
    assert run("sample", pipeline, *common, "--out", whole, "--json").stdout.startswith("{")
    captions.write_text("something else\n" * 5)
    assert "in prompts" in run("sample", pipeline, *common, "--out", whole, code=2).stderr


def test_coco_captions(tmp_path: Path) -> None:
    path = tmp_path / "captions_val.json"
    entries = [{"image_id": 7 - i, "id": i, "caption": f"number {i}\n"} for i in range(3)]
    path.write_text(json.dumps({"images": [], "annotations": entries}))
    assert read_prompts(path) == ["number 0", "number 1", "number 2"]
    path.write_text(json.dumps(["one", "two"]))
    assert read_prompts(path) == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("empty.txt", " \n\n", "holds no prompt"),
        ("broken.json", "{", "is not JSON"),
        ("other.json", "{}", "no captions"),
        ("holes.json", '[{"caption": "a"}, {"id": 2}]', "Entry 1 "),
    ],
)
def test_bad_prompts_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        read_prompts(tmp_path / name)


def test_seeds_and_indices_key_the_generators() -> None:
    drawn = {
        (s, i): float(torch.randn((), generator=textimage.generator_for(s, i)))
        for s in (0, 1)
        for i in (0, 1, 2)
    }
    assert len({*drawn.values()}) == 6
    assert float(torch.randn((), generator=textimage.generator_for(1, 2))) == drawn[1, 2]


def test_bad_input(pipeline: Path, captions: Path, tmp_path: Path) -> None:
    def says(*arguments: object) -> str:
        return run("sample", *arguments, "--out", tmp_path / "never", code=2).stderr

    prompt = ("--prompt", "a boat")
    assert "takes no prompt" in says("cifar10", *prompt)
    assert "There is no folder" in says(tmp_path / "nowhere", *prompt)
    assert "takes no prompt" in says(tmp_path, *prompt)
    assert "not both" in says(pipeline, *prompt, "--prompts", captions)
    assert "--prompt is empty" in says(pipeline, "--prompt", " ")
    assert "--labels has no meaning" in says(pipeline, *prompt, "--labels", "cat")
    assert "belongs to a prompt" in says("cifar10", "--guidance-scale", 3)
    assert "say what to draw with --prompt" in says(pipeline)
    assert "no prompt 9" in says(pipeline, "--prompts", captions, "--samples", "9")
    assert "cannot be read" in says(pipeline, "--prompts", tmp_path / "none.txt")
    assert "Unknown sampler" in says(pipeline, *prompt, "--sampler", "gee")
    classes = tmp_path / "classes"
    classes.mkdir()
    (classes / "model_index.json").write_text(json.dumps({"_class_name": "DiTPipeline"}))
    assert "is a DiTPipeline, which takes no prompt" in says(classes, *prompt)
    (classes / "model_index.json").write_text(json.dumps({"_class_name": "NoSuchPipeline"}))
    assert "does not know" in says(classes, *prompt)
    (classes / "model_index.json").write_text(
        json.dumps({"_class_name": "StableDiffusionPipeline"})
    )
    assert "cannot be loaded" in says(classes, *prompt)
    assert not (tmp_path / "never").exists()


@pytest.mark.parametrize(
    ("size", "sentence"),
    [
        ((12, 16), "have to be divisible by 8"),
        ((0, 16), "The width of an image must be at least 1 pixel, not 0"),
        ((16, -8), "The height of an image must be at least 1 pixel, not -8"),
    ],
)
def test_sizes_that_a_pipeline_does_not_take(
    pipeline: Path, tmp_path: Path, size: tuple[int, int], sentence: str
) -> None:
    asked = ("--prompt", "a boat", "--width", size[0], "--height", size[1])
    assert sentence in run("sample", pipeline, *asked, "--out", tmp_path / "never", code=2).stderr
    assert not (tmp_path / "never").exists()


def test_a_size_that_a_pipeline_would_round(pipeline: Path, monkeypatch: Any) -> None:
    model = textimage.load(pipeline, "ge", steps=1, options={"height": 16, "width": 20})
    monkeypatch.setattr(type(model.pipe), "check_inputs", lambda *_, **__: None)
    model.options["width"] = 21  # its decoder makes 20 of it
    with pytest.raises(UserError, match="20 × 16 pixels where 21 × 16 are asked for; give --width"):
        model(["snow"], [0])


def test_a_part_that_brings_its_own_code_is_refused(pipeline: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pipeline, folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["unet"] = ["mine", "Mine"]
    (folder / "model_index.json").write_text(json.dumps(index))
    (folder / "unet" / "mine.py").write_text("raise SystemExit('this ran')")
    with pytest.raises(UserError, match=r"code of its own \(unet/mine\.py\), which is not run"):
        textimage.load(folder, "ge", steps=1)


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        ("tokenizer", "lacks the folder tokenizer; copy the whole folder again"),
        ("vae", "lacks the folder vae"),
        ("tokenizer/tokenizer.json", "lacks the vocabulary in tokenizer"),
        ("tokenizer/tokenizer_config.json", "lacks tokenizer/tokenizer_config.json"),
        ("unet/diffusion_pytorch_model.safetensors", "cannot be loaded"),
        ("text_encoder/model.safetensors", "cannot be loaded"),
    ],
)
@pytest.mark.parametrize("how", ["missing", "empty"])
def test_damaged_folders(
    pipeline: Path, tmp_path: Path, gone: str, sentence: str, how: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(pipeline, folder)
    damaged = folder / gone
    if damaged.is_dir():
        shutil.rmtree(damaged)
    elif how == "missing":
        damaged.unlink()
    else:
        damaged.write_bytes(b"")
        sentence = "cannot be loaded"
    out = tmp_path / "never"
    said = run("sample", folder, "--prompt", "a boat", *SMALL, "--out", out, code=2).stderr
    assert sentence in said
    assert said.startswith("Error: ")
    assert len(said.splitlines()) == 1
    assert not out.exists()


def test_options_that_have_no_meaning_for_a_prompt(pipeline: Path, tmp_path: Path) -> None:
    out = tmp_path / "never"
    for option in (("--strength", 0), ("--labels", ""), ("--preview",), ("--noise", "brownian")):
        said = run("sample", pipeline, "--prompt", "snow", *option, "--out", out, code=2).stderr
        assert f"{option[0]} has no meaning for a prompt" in said


def test_threads_of_a_prompt_are_recorded(pipeline: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        run("sample", pipeline, "--prompt", "snow", *SMALL, "--threads", 2, "--out", tmp_path / "a")
    finally:
        torch.set_num_threads(before)
    assert json.loads((tmp_path / "a" / "run.json").read_text())["threads"] == 2


def test_a_zero_shot_figure_from_captions_to_distance(pipeline: Path, tmp_path: Path) -> None:
    """The page's study: COCO's captions, two shards into one folder, a stop, and a distance."""
    annotations = [{"id": i, "image_id": i, "caption": f"{PROMPTS[i % 6]} {i}"} for i in range(8)]
    captions = tmp_path / "captions.json"
    captions.write_text(json.dumps({"annotations": annotations}))
    command = ("sample", pipeline, "--prompts", captions, "--sampler", "ge", *SMALL)
    out, whole = tmp_path / "zero-shot", tmp_path / "whole"
    run(*command, "--samples", "0-3", "--out", out)
    run(*command, "--samples", "4-7", "--out", out)
    (out / "000002.png").unlink()  # as if a shard had been stopped before it
    run(*command, "--samples", "0-3", "--out", out)
    run(*command, "--n", 8, "--out", whole)
    assert images(out) == images(whole)
    statistics = tmp_path / "coco.npz"
    run("evaluate", whole, "--save-statistics", statistics, "--resamples", 0, "-q")
    scored = ("--reference", statistics, "--metrics", "fd", "--resamples", 0)
    shown = run("evaluate", out, *scored, "--json", "-q").stdout
    (score,) = json.loads(shown)["scores"]
    assert score["metric"] == "fd"
    assert score["value"] == pytest.approx(0, abs=1e-3)
