"""Pipelines as models with guidance around them: strips of x̂0, conflicts, landscapes, CLIP through
the decoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.images import read_image, save_png
from diffdescent.core.noise import normals
from tests.end_to_end.cli.test_commands import run

diffusers = pytest.importorskip("diffusers")
pipelines = pytest.importorskip(
    "tests.unit.apps.pipelines", reason="needs diffusers and transformers"
)
SMALL = ("--height", 16, "--width", 16)
PROMPT = "a red boat"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion folder with random weights."""
    folder = tmp_path_factory.mktemp("sd") / "tiny"
    pipelines.stable_diffusion().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP folder with random weights that sees 16 × 16 pixels."""
    from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig

    folder = tmp_path_factory.mktemp("clip") / "tiny"
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        image_size=16, patch_size=8, projection_dim=8,
    )  # fmt: skip
    config = CLIPConfig(
        text_config=pipelines.text_config(8).to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=8,
    )
    pipelines.seeded(CLIPModel, config).save_pretrained(folder)
    pipelines.tokenizer().save_pretrained(folder)
    return folder


def predictor(folder: Path, bare: bool, **options: object) -> object:
    from diffdescent.apps.textimage.predictor import load_predictor

    given = {"height": 16, "width": 16, **options}
    return load_predictor(str(folder), [PROMPT], options=given, bare=bare)


def test_the_pipelines_guidance_is_ours_around_its_bare_estimate(pipeline: Path) -> None:
    """cfg(scale=w) around the bare pipeline is what the pipeline makes at guidance_scale=w."""
    from diffdescent.core.recipe import parse
    from diffdescent.guidance import apply_guidance

    whole = predictor(pipeline, False, guidance_scale=5.0)
    bare = predictor(pipeline, True)
    ours, _ = apply_guidance("cfg(scale=5)", bare, parse("ddim"))  # type: ignore[arg-type]
    x = normals(0, torch.arange(2), whole.shape, 0)  # type: ignore[attr-defined]
    point = whole.process.point(500.0)  # type: ignore[attr-defined]
    labels = torch.zeros(2, dtype=torch.int64)
    torch.testing.assert_close(
        ours(x, point, labels).to("x0", x),
        whole(x, point, labels).to("x0", x),  # type: ignore[operator]
        rtol=1e-4,
        atol=1e-4,
    )
    with pytest.raises(UserError, match=r"give its scale in --guidance"):
        predictor(pipeline, True, guidance_scale=5.0)


def test_a_strip_ends_at_the_image(pipeline: Path, tmp_path: Path) -> None:
    """The last estimate of DDIM is its image."""
    from diffdescent.apps.textimage import load
    from diffdescent.apps.textimage.decoding import decoded

    model = load(pipeline, "ddim", steps=4, width=2, options={"height": 16, "width": 16})
    path = model.estimates([PROMPT, "a dog"], [0, 1], seed=3)
    assert path.shape[:2] == (4, 2)
    assert not torch.equal(path[0], path[1])
    images = model([PROMPT, "a dog"], [0, 1], seed=3)
    assert model.pipe.scheduler.watch is None
    last = decoded(model.pipe, path[-1]).add(1).mul(127.5).round().clamp(0, 255)
    assert float((last - images).abs().max()) <= 1
    common = ["--prompt", PROMPT, "--sampler", "ddim", "--steps", 4, "--micro-batch", 2]
    out = tmp_path / "out"
    run("sample", pipeline, *common, *SMALL, "--n", 3, "--trajectory", "--quiet", "--out", out)
    rows, columns = read_image(out / "trajectory.png").shape[1:]
    assert columns / rows == pytest.approx(4 / 2, rel=0.1)  # four moments of two images


def test_clip_guides_through_the_decoder(pipeline: Path, clip: Path, tmp_path: Path) -> None:
    """The gradient of the decoded estimate's similarity, by finite differences."""
    from diffdescent.core.process import Point
    from diffdescent.core.recipe import parse
    from diffdescent.guidance import apply_guidance
    from diffdescent.guidance.clip import load_clip

    bare = predictor(pipeline, True)
    text = f"clip(model='{clip}', prompt='{{}}', on=x0_frozen, scale=0.1)"
    guided, _ = apply_guidance(text, bare, parse("ddim"))  # type: ignore[arg-type]
    x = normals(0, torch.arange(1), bare.shape, 0)  # type: ignore[attr-defined]
    labels = torch.zeros(1, dtype=torch.int64)
    clean = Point(0.0, 1.0, 0.0)
    gradient = guided.guide(x, clean, labels)  # type: ignore[attr-defined]
    plain = load_clip(str(clip), PROMPT)
    step = torch.zeros_like(x)
    step[0, 1, 2, 3] = 1e-2

    def similar(latents: torch.Tensor) -> float:
        with torch.no_grad():
            return float(plain.similarity(bare.decode(latents), clean, None))  # type: ignore[attr-defined]

    slope = (similar(x + step) - similar(x - step)) / 2e-2
    assert float(gradient[0, 1, 2, 3]) == pytest.approx(slope, rel=0.05, abs=1e-3)
    with pytest.raises(UserError, match="CLIP cannot see noisy latents"):
        apply_guidance(text.replace("x0_frozen", "x"), bare, parse("ddim"))  # type: ignore[arg-type]

    out = tmp_path / "out"
    common = ["--prompt", PROMPT, "--steps", 3, *SMALL, "--quiet"]
    chain = f"{text} | pxp"
    run(
        "sample", pipeline, *common, "--sampler", "ddpm", "--guidance", chain, "--n", 2,
        "--trajectory", "--out", out,
    )  # fmt: skip
    record = json.loads((out / "run.json").read_text())
    assert record["recipe"] == "ddpm"
    assert record["text_to_image"]["scheduler"]["recipe"] == "ddpm"
    assert len(record["grid"]["sigma"]) == 3 + 1
    refused = run(
        "sample", pipeline, *common, "--sampler", "ddpm", "--guidance", chain, "--n", 3,
        "--grid", "karras", "--out", out, code=2,
    )  # fmt: skip
    assert "differs in" in refused.stderr
    assert "grid" in refused.stderr
    assert "pxp" in record["guidance"]
    assert (out / "trajectory.png").is_file()
    alone = tmp_path / "alone"
    run(
        "sample", pipeline, *common, "--sampler", "ddpm", "--guidance", chain, "--samples", 1,
        "--out", alone,
    )  # fmt: skip
    assert (alone / "000001.png").read_bytes() == (out / "000001.png").read_bytes()


def test_conflicts_and_landscape_of_a_prompt(pipeline: Path, tmp_path: Path) -> None:
    out = tmp_path / "conflicts"
    run(
        "conflicts", pipeline, "--prompt", PROMPT, "--guidance", "cfg(scale=4)", "--steps", 3,
        "--n", 2, *SMALL, "--quiet", "--out", out,
    )  # fmt: skip
    rows = (out / "conflicts.csv").read_text().splitlines()
    assert len(rows) > 3
    scene = tmp_path / "scene"
    done = run(
        "landscape", pipeline, "--prompt", PROMPT, "--samplers", "ddim; ge", "--steps", 3,
        "--around", 2, "--reference-steps", 4, "--counts", "2,3", *SMALL, "--out", scene,
    )  # fmt: skip
    assert "RMSE" in done.stdout
    assert (scene / "strip.png").is_file()
    wrong = run("conflicts", pipeline, "--guidance", "cfg(scale=4)", code=2)
    assert "say what to draw with --prompt" in wrong.stderr
    wrong = run("landscape", "mnist", "--guidance-scale", 3, code=2)
    assert "--guidance-scale belongs to a prompt" in wrong.stderr


def test_text_guidance_is_compared_with_and_without_pxp(
    pipeline: Path, clip: Path, tmp_path: Path
) -> None:
    """The study of PixelAsParam's table 3, on pipelines of random weights."""
    import polars

    captions = tmp_path / "captions.txt"
    captions.write_text("a red boat\ntwo dogs\nsnow on a hill")
    real = tmp_path / "real"
    real.mkdir()
    noise = torch.rand(8, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    for i, image in enumerate(noise):
        save_png(image.mul(255).to(torch.uint8), real / f"{i}.png")
    text = f"clip(model='{clip}', prompt='{{}}', on=x0_frozen)"
    out = tmp_path / "table"
    run(
        "compare", pipeline, "--prompts", captions, "--guidance", f"{text}; {text} | pxp",
        "--samplers", "ddpm", "--steps", 3, "--n", 3, *SMALL, "--metrics", "fd",
        "--reference", real, "--resamples", 4, "--out", out,
    )  # fmt: skip
    table = polars.read_csv(out / "table.csv")
    assert len(table) == 2
    assert table["labels"].to_list() == ["cycle", "cycle"]
    assert table["value"][0] != table["value"][1]


def test_latents_are_decoded_with_their_means_and_deviations() -> None:
    """As pipelines with such an autoencoder do (SDXL's refined ones, video's)."""
    from diffdescent.apps.textimage.decoding import decoded

    class Config(dict[str, object]):
        def __getattr__(self, name: str) -> object:
            return self[name]

    class Plain:
        config = Config(scaling_factor=0.5, latents_mean=[1.0, 2, 3, 4], latents_std=[2.0] * 4)
        dtype = torch.float32

        def decode(self, z: torch.Tensor) -> object:
            return type("Decoded", (), {"sample": z})

    pipe = type("Pipe", (), {"vae": Plain()})()
    found = decoded(pipe, torch.ones(2, 4, 1, 1))
    assert found.flatten(1).tolist() == [[5.0, 6.0, 7.0, 8.0]] * 2
