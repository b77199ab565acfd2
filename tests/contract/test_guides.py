"""Every registered source of a gradient: what docs/write-a-guide.md holds a guide to. A new one
joins by its name; one that needs files has its options in :func:`texts`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.guidance import Classifier, Guided, apply_guidance
from diffdescent.guidance.elements import SOURCES, Gradient
from diffdescent.models.mixture import Mixture
from tests.unit.apps import pipelines
from tests.unit.models.convert.glide import clip_folders

SHAPE = (3, 8, 8)
NAMES = sorted(name for name, kind in SOURCES.items() if issubclass(kind, Gradient))
VP = dd.VP.named("linear")
LABELS = torch.tensor([2, 0, 1])
RUN: dict[str, Any] = {"steps": 3, "n": 3, "micro_batch": 1}


@pytest.fixture(scope="module")
def model() -> Mixture:
    """Three named classes of one Gaussian each."""
    generator = torch.Generator().manual_seed(2)
    means = torch.randn(3, *SHAPE, generator=generator) * 0.4
    variances = torch.rand(3, *SHAPE, generator=generator) * 0.3 + 0.1
    shares, labels = torch.tensor([0.5, 0.3, 0.2]), torch.arange(3)
    return Mixture(shares, means, variances, VP, labels=labels, classes=("cat", "dog", "frog"))


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Options of the sources that need files: a small CLIP, and a small one of GLIDE's."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("guides")
    torch.manual_seed(0)
    sees = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "image_size": 8, "patch_size": 4}  # fmt: skip
    reads = pipelines.text_config(16).to_dict() | {"eos_token_id": 53}
    CLIPModel(CLIPConfig(text_config=reads, vision_config=sees, projection_dim=16)).save_pretrained(
        folder / "clip"
    )
    pipelines.tokenizer().save_pretrained(folder / "clip")
    image, text = clip_folders(folder)
    return {
        "clip": f"model='{folder / 'clip'}', prompt='a {{}}'",
        "noised_clip": f"image='{image}', text='{text}', tokenizer='{folder / 'clip'}',"
        " prompt='a {}'",
    }


Made = Callable[..., Guided]


@pytest.fixture
def made(model: Mixture, texts: dict[str, str]) -> Made:
    """The model under the guidance of that name, with more options."""

    def guided(name: str, *more: str) -> Guided:
        options = ", ".join([*([texts[name]] if name in texts else []), "shift=score", *more])
        own = Classifier(model.class_log_prob, label_count=3, classes=("cat", "dog", "frog"))
        found, _ = apply_guidance(f"{name}({options})", model, dd.sampler("ddim"), guide=own)
        assert isinstance(found, Guided)
        return found

    return guided


def drawn(model: dd.Predictor, labels: Tensor | None = LABELS, **more: Any) -> Tensor:
    return dd.sample(model, "ddim", labels=labels, **{**RUN, **more}).images


@pytest.mark.parametrize("name", NAMES)
def test_without_weight_or_without_a_level_it_changes_no_bit(
    name: str, made: Made, model: Mixture
) -> None:
    plain = drawn(model, None)
    assert torch.equal(drawn(made(name, "scale=0")), plain)
    assert torch.equal(drawn(made(name, "interval=[0, 0]")), plain)
    assert not torch.equal(drawn(made(name, "scale=1")), plain)


@pytest.mark.parametrize("on", ["x", "x0", "x0_frozen"])
@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_the_same_alone(name: str, on: str, made: Made) -> None:
    guided = made(name, f"on={on}", "interval=[0, 2]", "scale=0.1")
    whole = drawn(guided)
    assert whole.isfinite().all()
    for i in (0, 2):
        assert torch.equal(drawn(guided, LABELS[i : i + 1], n=None, samples=[i])[0], whole[i])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("t", [100, 600])
def test_it_is_the_gradient_of_something(name: str, t: int, made: Made) -> None:
    """Of an image's own: a sample's does not change with its neighbours, the label −1 has none, and
    its derivative J is symmetric: with v = Ju/‖Ju‖, uᵀJv = ‖Ju‖, by central differences."""
    guide, at = made(name).guide, VP.point(t)
    generator = torch.Generator().manual_seed(t)
    x, u = (torch.randn(3, *SHAPE, generator=generator) for _ in range(2))
    found = guide(x, at, LABELS)
    assert found.shape == x.shape
    assert found.dtype in (torch.float32, torch.float64)
    assert found.isfinite().all()
    assert found.flatten(1).any(1).all()
    torch.testing.assert_close(guide(x[1:2], at, LABELS[1:2])[0], found[1], rtol=1e-4, atol=1e-6)
    assert not guide(x, at, torch.tensor([-1, 0, 1]))[0].any()

    def along(way: Tensor) -> Tensor:
        step = 1e-2 * way / way.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        return (guide(x + step, at, LABELS) - guide(x - step, at, LABELS)).double() / 2e-2

    slope = along(u)
    length = slope.flatten(1).norm(dim=1)
    way = u.double() / u.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    back = (way * along(slope.float())).flatten(1).sum(1)
    torch.testing.assert_close(back, length, rtol=0.05, atol=1e-6)


def test_every_source_of_a_gradient_is_here() -> None:
    assert {"classifier", "clip", "guide", "noised_clip"} <= set(NAMES)
