"""The script that turns a v network into an ε network: does the new one say what the old one
said?"""

from __future__ import annotations

import copy
import importlib.util
from types import ModuleType
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent.base.errors import UserError
from diffdescent.base.image_sets import ImageSet
from tests.paths import ROOT

SCRIPT = ROOT / "tools" / "eps_from_v.py"
PROCESS = dd.VP.named("linear", 1000)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("eps_from_v", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def small_unet(groups: int = 8) -> Any:
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=16,
        block_out_channels=(32, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=groups,
        num_class_embeds=3,
        add_attention=False,
    ).eval()
    for layer in (
        unet.time_embedding.linear_1,
        unet.time_embedding.linear_2,
    ):  # as large as training makes them
        layer.weight.data *= 4
    return unet


@pytest.fixture(scope="module")
def pair(script: ModuleType) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (256, 3, 16, 16), generator=generator, dtype=torch.uint8)
    labels = torch.arange(256) % 2
    v_network = small_unet()
    unet, unexplained = script.eps_from_v(
        v_network, PROCESS, ImageSet(images, labels, None, []), count=256
    )
    # A network of random weights is not made to be read out linearly; what it leaves shows below as
    # error.
    assert 0 < unexplained < 0.6
    return v_network, unet


@torch.no_grad()
@pytest.mark.parametrize("t", [100, 300, 500, 700])
def test_the_new_network_predicts_the_old_ones_noise(pair: tuple[Any, Any], t: int) -> None:
    v_network, unet = pair
    point, generator = PROCESS.point(t), torch.Generator().manual_seed(t)
    alpha, sigma = float(point.alpha), float(point.sigma)
    x0 = torch.rand(8, 3, 16, 16, generator=generator) * 2 - 1
    x = alpha * x0 + sigma * torch.randn(x0.shape, generator=generator)
    times, labels = torch.full((8,), t), torch.arange(8) % 2
    correction = sigma * x + alpha * v_network(x, times, labels).sample - x  # α·r
    error = unet(x, times, labels).sample - x - correction
    # Against α·r, the part beside x, which falls from 1 to .08 of its size; without it, or twice as
    # large, this is 1.
    assert error.square().mean() < 0.5 * correction.square().mean()


@torch.no_grad()
def test_x_goes_straight_through(script: ModuleType, pair: tuple[Any, Any]) -> None:
    """Group normalisation would hide the size of x and the SiLU would bend it; the straight path
    does neither."""
    unet = copy.deepcopy(pair[1])
    beside_x = unet.conv_norm_out.weight < script.X_CONSTANT / script.X_SCALE / 2
    unet.conv_out.weight[:, beside_x] = 0
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    for size in (0.25, 1.0, 4.0):
        output = unet(
            size * x + 0.5, torch.full((4,), 500), torch.zeros(4, dtype=torch.long)
        ).sample
        torch.testing.assert_close(output, size * x + 0.5, rtol=5e-3, atol=1e-3)


@torch.no_grad()
def test_mend_restores_the_constants_and_nothing_else(
    script: ModuleType, pair: tuple[Any, Any]
) -> None:
    start, trained = pair[1], small_unet()
    trained.load_state_dict({name: value + 0.125 for name, value in start.state_dict().items()})
    script.mend(trained, start)
    then, now = start.up_blocks[-1].resnets[-1], trained.up_blocks[-1].resnets[-1]
    of_x = set((then.conv_shortcut.bias.abs() > script.X_CONSTANT / 2).nonzero().flatten().tolist())
    of_time = set(
        (then.time_emb_proj.bias.abs() > script.TIME_CONSTANT / 2).nonzero().flatten().tolist()
    )
    assert (len(of_x), len(of_time)) == (6, 2)
    for name, mended in (
        ("conv_shortcut", of_x),
        ("conv2", of_x),
        ("conv1", of_time),
        ("time_emb_proj", set()),
    ):
        for row, (a, b) in enumerate(
            zip(getattr(then, name).weight, getattr(now, name).weight, strict=True)
        ):
            assert torch.equal(b, a if row in mended else a + 0.125), (name, row)


@torch.no_grad()
def test_noise_at_the_last_time_is_answered_by_itself(
    script: ModuleType, pair: tuple[Any, Any]
) -> None:
    start, unet = pair[1], copy.deepcopy(pair[1])
    unet.conv_out.weight[:, unet.conv_norm_out.weight < script.X_CONSTANT / script.X_SCALE / 2] = 0
    unet.conv_norm_out.weight *= 1.25
    before, after = script.level(unet, start), script.level(unet, start)
    assert before == pytest.approx([1.25] * 3, rel=1e-2)
    assert after == pytest.approx([1.0] * 3, rel=1e-3)


def test_other_groups_are_refused(script: ModuleType) -> None:
    with pytest.raises(UserError, match="groups of 4, at least 7"):
        script.eps_from_v(
            small_unet(groups=4),
            PROCESS,
            ImageSet(torch.zeros(2, 3, 16, 16, dtype=torch.uint8), None, None, []),
        )
