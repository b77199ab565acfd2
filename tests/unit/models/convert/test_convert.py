"""The converter: all published key lists, containers, and what goes wrong."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

import diffdescent as dd
from diffdescent import UserError
from diffdescent.guidance import apply_guidance
from diffdescent.models.convert import PUBLISHED, convert, recognise
from diffdescent.models.convert.convert import family_of, place
from diffdescent.models.convert.settings import count_parameters, settings_from
from tests.paths import DOCS

from .cases import CASES, PUBLISHED_KEYS, settings, state

TWINS = {"iddpm_cifar10_uncond", "pndm_iddpm_cifar10"}


@pytest.mark.parametrize("name", PUBLISHED_KEYS)
def test_every_published_key_list_is_recognised_and_placed_completely(name: str) -> None:
    keys = PUBLISHED_KEYS[name]
    shapes = {k: tuple(v) for k, v in keys.items()}
    file = Path(PUBLISHED[name].files[0]).name if PUBLISHED[name].files else ""
    if name in TWINS and not file:
        with pytest.raises(UserError, match="--format"):
            recognise(shapes)
        found = PUBLISHED[name].settings
    else:
        found = recognise(shapes, file)
    expected = PUBLISHED[name].settings
    assert (found.network, found.options) == (expected.network, expected.options)
    assert found.process == expected.process
    assert family_of(frozenset(shapes)) == found.family
    state = {k: torch.empty(v, device="meta") for k, v in keys.items()}
    placed = place(state, found)
    network = found.build("meta")
    assert placed.keys() == network.state_dict().keys()
    assert count_parameters(network) == PUBLISHED[name].parameters


def small(case: str = "ddim_unet") -> dict[str, torch.Tensor]:
    return state(case)


def test_containers_give_the_average_unless_asked_otherwise(tmp_path: Path) -> None:
    raw = small()
    mean = {k: v + 1 for k, v in raw.items()}
    prefixed = {f"module.{k}": v for k, v in raw.items()}
    files = {
        "list.pth": [prefixed, {"state": {}}, 3, 100, mean],
        "dict.pt": {"model": prefixed, "ema": {"decay": 0.9, "shadow": mean}, "epoch": 3},
    }
    for name, content in files.items():
        torch.save(content, tmp_path / name)
        for weights, expected in (("auto", mean), ("ema", mean), ("model", raw)):
            out = tmp_path / f"{name}-{weights}"
            convert(tmp_path / name, out, settings=settings("ddim_unet"), weights=weights)
            from safetensors.torch import load_file

            found = load_file(out / "model.safetensors")
            assert all(torch.equal(found[k], v) for k, v in expected.items())


def test_a_converted_denoiser_is_an_ordinary_model(tmp_path: Path) -> None:
    torch.save(small("adm_unet_newattn"), tmp_path / "w.pt")
    folder = tmp_path / "model"
    convert(tmp_path / "w.pt", folder, settings=settings("adm_unet_newattn"), half=True)
    torch.save(small("adm_classifier"), tmp_path / "c.pt")
    convert(tmp_path / "c.pt", tmp_path / "guide", settings=settings("adm_classifier"))
    model = dd.load_model(str(folder))
    images = dd.sample(
        model, "ddpm(variance=learned) | threshold", steps=2, n=2, labels=[1, 2]
    ).images
    assert images.shape == (2, 3, 16, 16)
    assert bool(images.isfinite().all())
    text = f"classifier(scale=2, conditional=true, model='{tmp_path / 'guide'}')"
    guided, recipe = apply_guidance(text, model, dd.sampler("ddim(eta=1) | threshold"))
    moved = dd.sample(guided, recipe, steps=2, n=2, labels=[1, 2]).images
    plain = dd.sample(model, "ddim(eta=1) | threshold", steps=2, n=2, labels=[1, 2]).images
    assert not torch.equal(moved, plain)
    with pytest.raises(UserError, match="label"):
        dd.sample(model, "ddim", steps=2)
    with pytest.raises(UserError, match="guides others"):
        dd.load_model(str(tmp_path / "guide"))


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code ran",)


def test_what_is_not_a_whole_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / "whole.pt"
    torch.save(small(), whole)
    cut = tmp_path / "cut.pt"
    cut.write_bytes(whole.read_bytes()[:4000])
    (tmp_path / "text.ckpt").write_text("<html>not found</html>")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "cut.safetensors").write_bytes(b"\x40\x00\x00\x00\x00\x00\x00\x00{")
    (tmp_path / "code.pkl").write_bytes(pickle.dumps({"ema": Code()}))
    torch.save({"numbers": [1, 2]}, tmp_path / "none.pt")
    missing, over = small(), small()
    del missing["conv_in.weight"]
    over["extra.weight"] = torch.zeros(1)
    torch.save(missing, tmp_path / "missing.pt")
    torch.save(over, tmp_path / "over.pt")
    torch.save({"a.b": torch.zeros(2)}, tmp_path / "other.pt")
    for name, message in {
        "absent.pt": "There is no checkpoint file",
        "cut.pt": "not a whole checkpoint",
        "text.ckpt": "is no checkpoint: it begins neither",
        "empty.pt": "is no checkpoint",
        "cut.safetensors": "not a whole safetensors file",
        "code.pkl": "runs code, which is refused",
        "none.pt": "holds no weights",
        "missing.pt": "1 tensors are missing, first 'conv_in.weight'",
        "over.pt": "1 are left over, first 'extra.weight'",
    }.items():
        with pytest.raises(UserError, match=message) as caught:
            convert(tmp_path / name, tmp_path / "out", settings=settings("ddim_unet"))
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "out").exists()
    assert "code ran" not in capsys.readouterr().out
    with pytest.raises(UserError, match="no network that is known"):
        convert(tmp_path / "other.pt", tmp_path / "out")
    with pytest.raises(UserError, match="family 'ddim', but not one of the published"):
        convert(whole, tmp_path / "out")
    with pytest.raises(UserError, match="did you mean 'ddim_cifar10'"):
        convert(whole, tmp_path / "out", name="ddim_cifar")
    with pytest.raises(UserError, match="are missing, first"):
        convert(whole, tmp_path / "out", name="ddim_cifar10")
    with pytest.raises(UserError, match="holds no average"):
        convert(whole, tmp_path / "out", settings=settings("ddim_unet"), weights="ema")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(UserError, match="is there already"):
        convert(whole, tmp_path / "full", settings=settings("ddim_unet"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "must hold an object"),
        ({"family": "ddim"}, "lacks 'network'"),
        ({"family": "dim", "network": "DDPMUNet", "options": {}}, "did you mean 'ddim'"),
        ({"family": "ddim", "network": "UNet", "options": {}}, "network 'UNet'"),
        ({"family": "ddim", "network": "DDPMUNet", "options": 3}, "options must be an object"),
        ({"family": "ddim", "network": "DDPMUNet", "options": {}, "shape": [3]}, "shape must be"),
        ({"family": "ddim", "network": "DDPMUNet", "options": {}, "colour": 1}, "'colour'"),
        (
            {"family": "ddim", "network": "DDPMUNet", "options": {}, "process": {"kind": "vb"}},
            "did you mean 'vp'",
        ),
        (
            {"family": "ddim", "network": "DDPMUNet", "options": {}, "time_scale": -1},
            "time_scale must be a positive number",
        ),
    ],
)
def test_settings_that_make_no_sense(values: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        settings_from(values, "the file")


def test_options_that_the_network_refuses() -> None:
    found = settings_from(
        {"family": "ddim", "network": "DDPMUNet", "options": {"width": 3}}, "the file"
    )
    with pytest.raises(UserError, match="refuses these options"):
        found.build("meta")


def test_settings_survive_json() -> None:
    for name in (*CASES, *PUBLISHED):
        found = settings(name) if name in CASES else PUBLISHED[name].settings
        assert settings_from(json.loads(json.dumps(found.to_json())), name) == settings_from(
            found.to_json(), name
        )


def test_the_page_names_every_published_checkpoint() -> None:
    page = (DOCS / "checkpoints.md").read_text(encoding="utf-8")
    table = page.partition("## Published rows")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| `")]
    found = {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in rows}
    assert found.keys() == PUBLISHED.keys()
    for name, (files, size, parameters, network, _) in found.items():
        published = PUBLISHED[name]
        shape = published.settings.shape
        assert size == ("–" if shape is None else f"{shape[1]}²")
        assert parameters == f"{published.parameters / 1e6:.0f} M"
        assert network == published.settings.network
        assert all(Path(f).name in files or "…" in files for f in published.files)
    example = page.partition("```json\n")[2].partition("```")[0]
    settings_from(json.loads(example), "the page").build("meta")
