"""A network and its inputs as a folder: every command takes it, and a damaged one is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent.base.errors import UserError
from diffdescent.base.images import save_png
from diffdescent.core.model_info import info
from diffdescent.core.noise import normals
from diffdescent.models.convert import Inputs, load_module, load_with_inputs
from diffdescent.models.convert.conditioned import load_conditioned, write_conditioned
from diffdescent.models.weight_files import read_tensors
from diffdescent.run.inputs import labels_of_text
from tests.end_to_end.cli.command import run
from tests.unit.apps import pipelines
from tests.unit.models.convert.glide import TEXT, clip_folders, folder, gpt2_tokenizer


def small_images(path: Path) -> Path:
    """Three images of 4 × 4 pixels."""
    path.mkdir()
    for k, name in enumerate("abc"):
        save_png(torch.full((3, 4, 4), 100 * k, dtype=torch.uint8), path / f"{name}.png")
    return path


def test_small_images_are_enlarged_from_the_command_line(tmp_path: Path) -> None:
    network = folder(tmp_path, "ADMUNet", low_res=True, num_classes=5)
    asked = tmp_path / "asked"
    words = ("condition", network, "--images", small_images(tmp_path / "small"), "--out", asked)
    said = run(*words, "--classes", "4,0,2").stdout
    assert "3 labels ('a', 'b', 'c')" in said
    small = torch.tensor([0, 100, 200])[:, None, None, None].expand(-1, 3, 4, 4) / 127.5 - 1
    here = load_with_inputs(network, Inputs(low_res=small, classes=torch.tensor([4, 0, 2])))
    model = dd.load_model(str(asked))
    assert info(model).classes == ("a", "b", "c")
    assert info(model).fingerprint == here.fingerprint
    expected = dd.sample(here, "ddim", steps=3, n=3, labels=[0, 1, 2]).images
    assert torch.equal(dd.sample(model, "ddim", steps=3, n=3, labels=[0, 1, 2]).images, expected)
    drawn = ("sample", asked, "--sampler", "ddim", "--steps", 3, "--n", 3, "--label", "cycle")
    run(*drawn, "--out", tmp_path / "made")
    record = json.loads((tmp_path / "made" / "run.json").read_text())
    assert record["labels"] == [0, 1, 2]
    run(
        "compare", asked, "--samplers", "ddim; unipc", "--nfe", 3, "--n", 4, "--labels", "cycle",
        "--out", tmp_path / "compared",
    )  # fmt: skip
    assert "is there already" in run(*words, "--classes", "1", code=2).stderr


def test_labels_are_called_by_what_tells_them_apart(tmp_path: Path) -> None:
    """Names that look like numbers are names; one text for several images is not their name."""
    words = gpt2_tokenizer(tmp_path / "gpt2")
    network = folder(tmp_path, "GLIDEUNet", **{**TEXT, "n_vocab": words, "low_res": True})
    small = tmp_path / "small"
    for place in ("", "again"):
        (small / place).mkdir()
        for k in (1, 2):
            save_png(torch.zeros(3, 4, 4, dtype=torch.uint8), small / place / f"000{k}.png")
    given = ("--images", small, "--tokenizer", tmp_path / "gpt2")
    run("condition", network, *given, "--prompt", "a red cube", "--out", tmp_path / "one")
    model = load_conditioned(tmp_path / "one")
    assert sorted(model.classes or ()) == ["0001", "0001 (1)", "0002", "0002 (1)"]
    for k, name in enumerate(model.classes or ()):
        assert labels_of_text(name, model) == [k]
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat, sitting\na\na\nb\n")
    run("condition", network, *given, "--prompts", prompts, "--out", tmp_path / "four")
    model = load_conditioned(tmp_path / "four")
    assert model.classes == ("a cat, sitting", "a", "a", "b")
    assert labels_of_text("a cat, sitting", model) == [0]
    assert labels_of_text("b,a", model) == [3, 1]


def test_a_name_that_is_no_unicode_and_a_folder_behind_a_link(tmp_path: Path) -> None:
    network = folder(tmp_path, "ADMUNet", low_res=True)
    (tmp_path / "deep" / "down").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "down")
    inputs = Inputs(low_res=torch.zeros(1, 3, 4, 4))
    for out, name in (("plain", "caf\udce9"), ("link/asked", "café")):
        write_conditioned(tmp_path / out, network, inputs, [name])
        assert load_conditioned(tmp_path / out).classes == (name,)
    with pytest.raises(UserError, match="1 labels and 2 names"):
        write_conditioned(tmp_path / "two", network, inputs, ["a", "b"])
    assert not (tmp_path / "two").exists()
    (tmp_path / "plain" / "config.json").write_text("[]")
    with pytest.raises(UserError, match="write it again"):
        load_conditioned(tmp_path / "plain")


def test_the_folder_may_move_with_its_network(tmp_path: Path) -> None:
    home = tmp_path / "home"
    network = folder(home, "ADMUNet", low_res=True)
    small = torch.zeros(2, 3, 4, 4)
    write_conditioned(home / "asked", network, Inputs(low_res=small), ["one", "two"])
    moved = shutil.move(home, tmp_path / "elsewhere")
    assert load_conditioned(Path(moved) / "asked").classes == ("one", "two")
    shutil.rmtree(Path(moved) / "ADMUNet")
    with pytest.raises(UserError, match="is not at"):
        dd.load_model(str(Path(moved) / "asked"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("version", 2, "of version 2"),
        ("names", ["one"], "write it again"),
        ("names", [1, 2], "write it again"),
        ("network", 7, "write it again"),
    ],
)
def test_a_damaged_folder_is_refused(tmp_path: Path, key: str, value: object, said: str) -> None:
    network = folder(tmp_path, "ADMUNet", low_res=True)
    asked = tmp_path / "asked"
    write_conditioned(asked, network, Inputs(low_res=torch.zeros(2, 3, 4, 4)), ["one", "two"])
    config = json.loads((asked / "config.json").read_text())
    (asked / "config.json").write_text(json.dumps({**config, key: value}))
    with pytest.raises(UserError, match=said):
        dd.load_model(str(asked))


def test_texts_are_drawn_with_guidance_and_a_clip_that_knows_noise(tmp_path: Path) -> None:
    words = gpt2_tokenizer(tmp_path / "gpt2")
    network = folder(tmp_path, "GLIDEUNet", **{**TEXT, "n_vocab": words})
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red cube\nan oil painting\n")
    asked = tmp_path / "asked"
    texts = ("--prompts", prompts, "--tokenizer", tmp_path / "gpt2")
    run("condition", network, *texts, "--out", asked)
    model = dd.load_model(str(asked))
    assert info(model).classes == ("a red cube", "an oil painting")
    image, text = clip_folders(tmp_path)
    pipelines.tokenizer().save_pretrained(tmp_path / "clip")
    clip = (
        f"noised_clip(scale=1, image='{image}', text='{text}', tokenizer='{tmp_path / 'clip'}',"
        " prompt='{}')"
    )
    common: dict[str, Any] = {"grid": [300, 100, 0], "n": 2, "labels": [0, 1], "seed": 1}
    plain, free, guided = (
        dd.sample(model, "ddpm", guidance=g, **common).images
        for g in (None, "cfg(scale=1.2)", clip)
    )
    assert not torch.equal(plain, free)
    one = clip.replace("{}", "an oil painting")  # what the label 1 is called
    again = dd.sample(model, "ddpm", guidance=one, **common).images
    torch.testing.assert_close(again[1], guided[1])
    assert not torch.allclose(again[0], guided[0], atol=1e-4)
    assert not torch.allclose(plain[1], guided[1], atol=1e-4)


def test_the_clip_that_knows_noise_is_asked_at_the_level_of_its_own_process(tmp_path: Path) -> None:
    """Its gradient is the derivative of 100·cosine, by finite differences of the encoder itself."""
    from diffdescent.guidance.noised_clip import load_noised_clip
    from diffdescent.models.convert.tokens import clip_tokens

    image, text = clip_folders(tmp_path)
    pipelines.tokenizer().save_pretrained(tmp_path / "clip")
    guide = load_noised_clip(str(image), str(text), str(tmp_path / "clip"), "a cube")
    process = dd.VP.named("cosine")
    x, point = normals(0, torch.arange(2), (3, 8, 8), 0), process.point(437.0)
    tokens, lengths = clip_tokens(tmp_path / "clip", ["a cube"], 60, 8)
    with torch.no_grad():
        g = load_module(text)(tokens, lengths)
        encoder = load_module(image).double()

        def similarity(images: torch.Tensor) -> torch.Tensor:
            f = encoder(images, torch.full((len(images),), 437.0))
            return 100 * torch.cosine_similarity(f, g.double())

        found = guide(x, point, None).double()
        way = normals(1, torch.arange(2), (3, 8, 8), 0).double()
        step = 1e-4 * way
        expected = (similarity(x + step) - similarity(x - step)) / 2e-4
    torch.testing.assert_close((found * way).flatten(1).sum(1), expected, rtol=1e-3, atol=1e-3)
    linear = dd.VP.named("linear")
    same = linear.point(float(linear.t_of_ratio(point.ratio)))
    torch.testing.assert_close(
        guide.similarity(x.float() * same.norm / point.norm, same, None),
        similarity(x.double()).float(),
        rtol=1e-4,
        atol=1e-4,
    )
    with pytest.raises(UserError, match="not a CLIPImageEncoder"):
        load_noised_clip(str(text), str(text), str(tmp_path / "clip"), "a cube")
    with pytest.raises(
        UserError, match=r"sees images of 3 × 8 × 8, and the model's are 3 × 16 × 16"
    ):
        load_noised_clip(str(image), str(text), str(tmp_path / "clip"), "a cube", shape=(3, 16, 16))
    config = json.loads((text / "config.json").read_text())
    config["options"]["n_embd"] = 7
    (text / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="embeddings of 6 and 7"):
        load_noised_clip(str(image), str(text), str(tmp_path / "clip"), "a cube")


def test_an_inpainting_network_sees_what_is_kept(tmp_path: Path) -> None:
    words = gpt2_tokenizer(tmp_path / "gpt2")
    network = folder(tmp_path, "GLIDEUNet", **{**TEXT, "n_vocab": words, "inpaint": True})
    image, mask = (torch.randint(0, 256, (k, 8, 8), dtype=torch.uint8) for k in (3, 1))
    (tmp_path / "kept").mkdir()
    save_png(image, tmp_path / "kept" / "photo.png")
    save_png(mask, tmp_path / "mask.png")
    asked = ("--prompt", "a red cube", "--tokenizer", tmp_path / "gpt2")
    given = ("--init", tmp_path / "kept", "--mask", tmp_path / "mask.png")
    run("condition", network, *asked, *given, "--out", tmp_path / "asked")
    model = load_conditioned(tmp_path / "asked")
    x, point = normals(0, torch.arange(1), (3, 8, 8), 0), model.process.point(300.0)
    inputs = read_tensors(tmp_path / "asked" / "inputs.safetensors")
    torch.testing.assert_close(inputs["inpaint_image"], image[None] / 127.5 - 1)
    assert torch.equal(inputs["inpaint_mask"], (mask[None] >= 128).float())
    with torch.no_grad():
        found = model(x, point, torch.tensor([0])).to("eps", x)
        expected = load_module(network)(x, torch.full((1,), 300.0), **inputs)[:, :3]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert "Give --init" in run(
        "condition", network, *asked, *given[2:], "--out", tmp_path / "x", code=2
    ).stderr  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ["--images", "small", "--classes", "1", "--prompt", "a"],
            "leave out --prompt or --prompts",
        ),
        (["--images", "small", "--classes", "1", "--tokenizer", "gpt2"], "belongs to a text"),
        (["--images", "small", "--classes", "1", "--init", "small"], "leave out --init and --mask"),
        (["--classes", "cat"], "numbers with commas"),
        (["--images", "small", "--classes", "1,2"], "one for each label"),
        (["--images", "small", "--classes", "9"], "0 … 4"),
        (["--images", "small"], "one of 5 classes; give --classes"),
        (["--classes", "1"], "give --images"),
        (["--images", "missing", "--classes", "1"], "missing"),
        ([], "give --images"),
    ],
)
def test_bad_inputs_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    network = folder(tmp_path, "ADMUNet", low_res=True, num_classes=5)
    small_images(tmp_path / "small")
    found = run("condition", network, *options, "--out", "asked", code=2).stderr
    assert said in found
    assert not (tmp_path / "asked").exists()
