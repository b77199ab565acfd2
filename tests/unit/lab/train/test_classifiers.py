"""The two classifiers: shapes, gradients, and folders that are no classifier."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.models.classifiers import FeatureNet, GuideNet, load_classifier, save_classifier


def test_the_guide_has_a_gradient_in_x_and_knows_the_time() -> None:
    torch.manual_seed(0)
    guide = GuideNet(classes=3, widths=(8, 16), groups=4).eval()
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    logits = guide(x, torch.tensor([3.0, 900.0]))
    assert logits.shape == (2, 3)
    (gradient,) = torch.autograd.grad(logits[0, 1], x)
    assert float(gradient[0].abs().sum()) > 0
    assert float(gradient[1].abs().sum()) == 0  # images do not see each other
    assert torch.allclose(guide(x, torch.tensor(3.0))[0], logits[0], atol=1e-6)
    assert not torch.allclose(guide(x, torch.tensor(900.0))[0], logits[0], atol=1e-3)


@pytest.mark.parametrize("half", [False, True])
def test_saved_classifiers_come_back(tmp_path: Path, half: bool) -> None:
    torch.manual_seed(0)
    network = FeatureNet(classes=4, widths=(8, 8, 8, 16)).eval()
    save_classifier(network, tmp_path, half=half, about={"classes": ["a", "b", "c", "d"]})
    again = load_classifier(tmp_path)
    x = torch.randn(2, 3, 16, 16)
    assert torch.allclose(again(x), network(x), atol=2e-2 if half else 0)
    assert again.config == network.config
    assert json.loads((tmp_path / "config.json").read_text())["about"]["classes"] == [
        "a",
        "b",
        "c",
        "d",
    ]


def test_what_is_no_classifier(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no readable config\.json"):
        load_classifier(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(UserError, match=r"holds no classifier: its config\.json has kind None"):
        load_classifier(tmp_path)
    save_classifier(GuideNet(classes=2, widths=(8, 8), groups=4), tmp_path)
    weights = tmp_path / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_classifier(tmp_path)
    weights.write_bytes(data)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "widths": [8, 16]}))
    with pytest.raises(UserError, match="do not fit its"):
        load_classifier(tmp_path)
    weights.unlink()
    with pytest.raises(UserError, match="There are no weights"):
        load_classifier(tmp_path)
