"""Super-resolution and GLIDE as models: what their labels stand for reaches the network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.base.errors import UserError
from diffdescent.core.noise import normals
from diffdescent.models.convert import Inputs, load_module, load_with_inputs
from diffdescent.models.convert.folder import load_converted
from tests.unit.models.convert.glide import TEXT, folder

SMALL = torch.rand(3, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * 2 - 1
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
    with pytest.raises(UserError, match="knows 5 classes"):
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
    with pytest.raises(UserError, match="takes no low_res"):
        load_with_inputs(network, Inputs(tokens=TOKENS, low_res=SMALL))
    with pytest.raises(UserError, match="one entry of each"):
        Inputs(tokens=TOKENS, low_res=SMALL[:2])


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"tokens": TOKENS.float()}, "whole numbers"),
        ({"tokens": TOKENS + 5}, "knows 0 … 11"),
        ({"tokens": TOKENS[:, :2]}, "reads 4 of each text"),
        ({"tokens": TOKENS, "mask": torch.ones(3, 2, dtype=torch.bool)}, "reads 4 of each text"),
        ({"tokens": TOKENS, "inpaint_image": SMALL}, "together"),
        (
            {"tokens": TOKENS, "inpaint_image": SMALL[:, :1], "inpaint_mask": SMALL[:, :1]},
            "expected (K, 3, H, W)",
        ),
        (
            {"tokens": TOKENS, "inpaint_image": SMALL, "inpaint_mask": SMALL},
            "expected (K, 1, H, W)",
        ),
    ],
)
def test_inputs_that_the_network_would_fail_on_are_refused(
    tmp_path: Path, inputs: dict[str, Tensor], said: str
) -> None:
    network = folder(tmp_path, "GLIDEUNet", **TEXT, inpaint=True)
    with pytest.raises(UserError, match=re.escape(said)):
        load_with_inputs(network, Inputs(**inputs))
