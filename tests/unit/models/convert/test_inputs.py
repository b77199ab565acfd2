"""Super-resolution and GLIDE as models: what their labels stand for reaches the network."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.base.errors import UserError
from diffdescent.core.noise import normals
from diffdescent.guidance import ClassifierFree
from diffdescent.models.convert import Inputs, load_module, load_with_inputs
from diffdescent.models.convert.folder import load_converted
from tests.unit.models.convert.glide import TEXT, folder

SMALL = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 - 1
WHOLE = torch.zeros(3, 3, 8, 8)
TOKENS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 0]])


def raw(network: Path, x: Tensor, t: float, **inputs: Tensor) -> Tensor:
    with torch.no_grad():
        answer: Tensor = load_module(network)(x, torch.full((len(x),), t), **inputs)[:, :3]
    return answer


def test_a_label_is_a_small_image(tmp_path: Path) -> None:
    network = folder(tmp_path, "ADMUNet", low_res=True, num_classes=5)
    classes = torch.tensor([4, 0, 2])
    model = load_with_inputs(network, Inputs(low_res=SMALL, classes=classes))
    x, labels = normals(0, torch.arange(2), (3, 8, 8), 0), torch.tensor([2, 0])
    with torch.no_grad():
        found = model(x, model.process.point(500.0), labels).to("eps", x)
    expected = raw(network, x, 500.0, labels=classes[labels], low_res=SMALL[labels])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    made = [dd.sample(model, "ddim", steps=3, n=1, labels=k).images for k in (0, 1)]
    assert not torch.equal(*made)
    with pytest.raises(UserError, match="label"):
        dd.sample(model, "ddim", steps=3, n=1)
    with pytest.raises(UserError, match="load_with_inputs takes them"):
        load_converted(network)
    with pytest.raises(UserError, match="one of 5 classes; give classes"):
        load_with_inputs(network, Inputs(low_res=SMALL))
    other = load_with_inputs(network, Inputs(low_res=SMALL.flip(0), classes=classes))
    assert other.fingerprint != model.fingerprint


def test_a_label_is_a_text_and_none_is_the_empty_one(tmp_path: Path) -> None:
    network = folder(tmp_path, "GLIDEUNet", **TEXT)
    mask = torch.tensor([[True] * 4, [True, True, False, False], [True] * 4])
    model = load_with_inputs(network, Inputs(tokens=TOKENS, mask=mask))
    x, point = normals(0, torch.arange(2), (3, 8, 8), 0), model.process.point(300.0)
    for labels, seen in (([1, 2], mask[[1, 2]]), ([-1, -1], torch.zeros(2, 4, dtype=torch.bool))):
        with torch.no_grad():
            found = model(x, point, torch.tensor(labels)).to("eps", x)
        expected = raw(network, x, 300.0, tokens=TOKENS[[1, 2]], mask=seen)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    plain, guided = (
        dd.sample(model, "ddim", grid=[300, 100, 0], n=1, labels=1, guidance=g).images
        for g in ("cfg(scale=1)", "cfg(scale=1.2)")
    )
    assert not torch.equal(plain, guided)
    with pytest.raises(UserError, match="without a small image; leave out low_res"):
        load_with_inputs(network, Inputs(tokens=TOKENS, low_res=SMALL))
    with pytest.raises(UserError, match="one entry of each"):
        Inputs(tokens=TOKENS, low_res=SMALL[:2])


def test_each_label_keeps_its_own_image(tmp_path: Path) -> None:
    """Where they differ, −1 does not say which, so guidance without labels is refused."""
    network = folder(tmp_path, "GLIDEUNet", **TEXT, inpaint=True)
    kept = normals(1, torch.arange(3), (3, 8, 8), 0)
    inputs = Inputs(tokens=TOKENS, inpaint_image=kept, inpaint_mask=torch.ones(3, 1, 8, 8))
    model = load_with_inputs(network, inputs)
    x, point = normals(0, torch.arange(2), (3, 8, 8), 0), model.process.point(300.0)
    labels, words = torch.tensor([2, 0]), torch.ones(2, 4, dtype=torch.bool)
    with torch.no_grad():
        found = model(x, point, labels).to("eps", x)
    chosen = {name: value[labels] for name, value in inputs.given.items()}
    torch.testing.assert_close(
        found, raw(network, x, 300.0, mask=words, **chosen), rtol=1e-4, atol=1e-4
    )
    with pytest.raises(UserError, match="trained with labels alone"):
        dd.sample(model, "ddim", steps=2, labels=[0, 1], n=2, guidance="cfg(scale=2)")
    other = load_with_inputs(network, replace(inputs, inpaint_image=kept[:1].expand(3, -1, -1, -1)))
    chosen["inpaint_image"] = kept[:1].expand(2, -1, -1, -1)
    plain, empty = (raw(network, x, 300.0, mask=mask, **chosen) for mask in (words, ~words))
    with torch.no_grad():
        guided = ClassifierFree(other, scale=3)(x, point, labels).to("eps", x)
    torch.testing.assert_close(guided, empty + 3 * (plain - empty), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"tokens": TOKENS.float()}, "torch.int64"),
        ({"tokens": TOKENS + 5}, "knows 0 … 11"),
        ({"tokens": TOKENS[:, :2]}, "reads 4 of each text"),
        ({"tokens": TOKENS, "mask": torch.ones(3, 2, dtype=torch.bool)}, "reads 4 of each text"),
        ({"tokens": TOKENS, "inpaint_image": SMALL}, "together"),
        ({"tokens": TOKENS, "mask": torch.ones(3, 4)}, "torch.bool"),
        ({"tokens": TOKENS, "inpaint_image": SMALL, "inpaint_mask": WHOLE[:, :1]}, "(K, 3, 8, 8)"),
        ({"tokens": TOKENS, "inpaint_image": WHOLE, "inpaint_mask": WHOLE}, "(K, 1, 8, 8)"),
    ],
)
def test_inputs_that_the_network_would_fail_on_are_refused(
    tmp_path: Path, inputs: dict[str, Tensor], said: str
) -> None:
    network = folder(tmp_path, "GLIDEUNet", **TEXT, inpaint=True)
    with pytest.raises(UserError, match=re.escape(said)):
        load_with_inputs(network, Inputs(**inputs))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"low_res": torch.zeros(1, 3, 4, 4, dtype=torch.float64)}, "torch.float32"),
        ({"low_res": torch.zeros(1, 1, 4, 4)}, "(K, 3, h, w)"),
        ({"mask": torch.ones(1, 4, dtype=torch.bool)}, "give tokens"),
    ],
)
def test_small_images_that_the_network_would_fail_on(
    tmp_path: Path, given: dict[str, torch.Tensor], said: str
) -> None:
    network = folder(tmp_path, "ADMUNet", low_res=True)
    inputs = Inputs(**{"low_res": torch.zeros(1, 3, 4, 4), **given})
    with pytest.raises(UserError, match=re.escape(said)):
        load_with_inputs(network, inputs)
