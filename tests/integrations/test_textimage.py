"""Text to image from the command line, with a tiny Stable Diffusion pipeline built and saved here."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
import torch

from diffdescent.errors import UserError
from diffdescent.images import read_image
from diffdescent.integrations import textimage
from diffdescent.recipes import parse

from ..cli.test_commands import images, run

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")

PROMPTS = ["a red boat", "two dogs", "", "snow on a hill", "an old clock", "a bowl of rice"]


def tokenizer(folder: Path) -> Any:
    """A CLIP tokenizer that knows single letters."""
    letters = list(string.ascii_lowercase + string.digits + ",.")
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=24)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion folder with random weights and the scheduler config of version 1.5."""
    root = tmp_path_factory.mktemp("sd")
    torch.manual_seed(0)
    words = tokenizer(root / "words")
    unet = diffusers.UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
    )
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        sample_size=16,
    )
    text = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=24,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )
    scheduler = diffusers.PNDMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        steps_offset=1,
        skip_prk_steps=True,
        set_alpha_to_one=False,
    )
    folder = root / "tiny"
    diffusers.StableDiffusionPipeline(
        vae, text, words, unet, scheduler, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    path = tmp_path / "captions.txt"
    path.write_text("\n".join(PROMPTS))
    return path


SMALL = ("--steps", 3, "--height", 16, "--width", 16)


@pytest.mark.parametrize("sampler", ["ge", "ddim | momentum(-0.3)"])
def test_a_prompt_makes_an_image(pipeline: Path, tmp_path: Path, sampler: str) -> None:
    out = tmp_path / "out"
    done = run("sample", pipeline, "--prompt", "a red boat", "--sampler", sampler, *SMALL, "--out", out)
    assert "1 images" in done.stdout
    assert read_image(out / "000000.png").shape == (3, 16, 16)
    record = json.loads((out / "run.json").read_text())
    assert record["pipeline"] == "StableDiffusionPipeline"
    assert record["prompt"] == "a red boat"
    assert parse(record["recipe"]) == parse(sampler)
    assert record["scheduler"]["beta_schedule"] == "scaled_linear"
    assert record["scheduler"]["grid"] == ("loglinear" if sampler == "ge" else "uniform(spacing=trailing)")


def test_it_is_the_pipelines_own_image(pipeline: Path) -> None:
    """The same pipeline called by hand, with diffusers' own DDIM on the same levels, makes the same picture."""
    ours = textimage.load(pipeline, "ddim", "uniform(spacing=trailing)", steps=4, options={"height": 16, "width": 16})
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


def test_options_reach_the_pipeline(pipeline: Path) -> None:
    def made(**options: Any) -> torch.Tensor:
        small = {"height": 16, "width": 24, **options}
        return textimage.load(pipeline, "ge", steps=2, options=small)(["snow"], [0])[0].float()

    plain = made()
    assert plain.shape == (3, 16, 24)
    assert not torch.equal(made(guidance_scale=30.0), plain)
    assert torch.equal(made(negative_prompt=""), plain)
    assert not torch.equal(made(negative_prompt="zebra", guidance_scale=30.0), made(guidance_scale=30.0))


def test_a_prompts_file_is_one_image_a_caption_whatever_the_batches(
    pipeline: Path, captions: Path, tmp_path: Path
) -> None:
    common = ("--prompts", captions, "--sampler", "ddim(eta=1)", "--micro-batch", 2, *SMALL)
    whole, split = tmp_path / "whole", tmp_path / "split"
    run("sample", pipeline, *common, "--out", whole)
    assert sorted(images(whole)) == [f"{i:06d}.png" for i in range(5)]  # the empty line is no prompt
    assert len({*images(whole).values()}) == 5
    for part in ("3", "0,4", "1-2"):
        run("sample", pipeline, *common, "--samples", part, "--out", split)
    assert images(split) == images(whole)
    # A run that lost files makes those, and the same ones.
    kept = (whole / "000001.png").stat().st_mtime_ns
    before = images(whole)
    (whole / "000002.png").unlink()
    done = run("sample", pipeline, *common, "--out", whole)
    assert "1 images (4 were there)" in done.stdout
    assert images(whole) == before
    assert (whole / "000001.png").stat().st_mtime_ns == kept
    assert run("sample", pipeline, *common, "--out", whole, "--json").stdout.startswith("{")
    captions.write_text("something else\n" * 5)
    assert "another prompts" in run("sample", pipeline, *common, "--out", whole, code=2).stderr


def test_coco_captions(tmp_path: Path) -> None:
    path = tmp_path / "captions_val.json"
    entries = [{"image_id": 7 - i, "id": i, "caption": f"number {i}\n"} for i in range(3)]
    path.write_text(json.dumps({"images": [], "annotations": entries}))
    assert textimage.read_prompts(path) == ["number 0", "number 1", "number 2"]
    path.write_text(json.dumps(["one", "two"]))
    assert textimage.read_prompts(path) == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("empty.txt", " \n\n", "holds no prompt"),
        ("broken.json", "{", "not valid JSON"),
        ("other.json", "{}", "no captions"),
        ("holes.json", '[{"caption": "a"}, {"id": 2}]', "Entry 1 "),
    ],
)
def test_bad_prompts_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        textimage.read_prompts(tmp_path / name)


def test_seeds_and_indices_key_the_generators() -> None:
    drawn = {(s, i): float(torch.randn((), generator=textimage.generator_for(s, i))) for s in (0, 1) for i in (0, 1, 2)}
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
    assert "--label has no meaning" in says(pipeline, *prompt, "--label", "cat")
    assert "belongs to a prompt" in says("cifar10", "--guidance-scale", 3)
    assert "no prompt 9" in says(pipeline, "--prompts", captions, "--samples", "9")
    assert "cannot be read" in says(pipeline, "--prompts", tmp_path / "none.txt")
    assert "Unknown sampler" in says(pipeline, *prompt, "--sampler", "gee")
    classes = tmp_path / "classes"
    classes.mkdir()
    (classes / "model_index.json").write_text(json.dumps({"_class_name": "DiTPipeline"}))
    assert "is a DiTPipeline, which takes no prompt" in says(classes, *prompt)
    (classes / "model_index.json").write_text(json.dumps({"_class_name": "NoSuchPipeline"}))
    assert "does not know" in says(classes, *prompt)
    (classes / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    assert "cannot be loaded" in says(classes, *prompt)
    assert not (tmp_path / "never").exists()
