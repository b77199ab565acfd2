"""What was measured of a pipeline's images, attached to it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from diffdescent import UserError  # noqa: E402
from diffdescent.apps.diffusers import DescentScheduler, attach, detach  # noqa: E402
from diffdescent.apps.diffusers.data_term import Latents  # noqa: E402
from diffdescent.core.operators import parse_operator  # noqa: E402
from tests.unit.apps import pipelines as tiny  # noqa: E402
from tests.unit.apps.test_attach import ended, prepared  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")
FAMILIES = ["stable_diffusion", "sdxl", "sd3"]


@pytest.fixture(autouse=True)
def clean_denoisers() -> Iterator[None]:
    yield
    for family in (*FAMILIES, "flux"):
        made = getattr(tiny, family)()
        (made.unet if hasattr(made, "unet") else made.transformer)._forward_hooks.clear()


def to_the_end(pipe: Any) -> None:
    """Let the pipeline's levels end at σ = 0, where the image is the last estimate."""
    config = {**pipe.scheduler.config, "set_alpha_to_one": True}
    pipe.scheduler = DescentScheduler.from_config(config, recipe="ddim")


def pixels(channels: int = 3) -> Any:
    """An unconditional pipeline of 16 × 16 pixels."""
    net = tiny.seeded(
        diffusers.UNet2DModel, sample_size=16, in_channels=channels, out_channels=channels,
        block_out_channels=(8, 8), down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2, norm_num_groups=4, layers_per_block=1,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(num_train_timesteps=1000, clip_sample=False)
    return tiny.quiet(diffusers.DDIMPipeline(net, scheduler))


def pixel_images(pipe: Any) -> Tensor:
    made = pipe(
        batch_size=2, num_inference_steps=4, output_type="np",
        generator=torch.Generator().manual_seed(3),
    ).images  # fmt: skip
    return torch.from_numpy(made).permute(0, 3, 1, 2) * 2 - 1


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", ["ddnm", "diffpir"])
def test_a_mask_keeps_the_latents_of_the_photo(family: str, method: str) -> None:
    pipe, given = prepared(family)
    if family != "sd3":
        to_the_end(pipe)
    photo = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    plain = ended(pipe, given)
    attach(pipe, "cfg", y=photo, operator="mask(box=[0, 0, 16, 7])", method=method)
    found = ended(pipe, given)
    detach(pipe)
    kept = photo.clone()
    kept[..., :7] = 0
    latents = Latents(pipe.vae).encode(kept)
    torch.testing.assert_close(found[..., 4:], latents[..., 4:], rtol=0, atol=2e-5)
    assert not torch.allclose(found[..., :4], latents[..., :4], atol=0.1)
    assert not torch.equal(found[..., :4], plain[..., :4])  # the rest follows
    assert torch.equal(ended(pipe, given), plain)


@pytest.mark.parametrize(
    ("method", "near"), [("diffpir(strength=0.01)", 0.2), ("reddiff(regularizer=0.01)", 0.9)]
)
def test_an_operator_is_answered_through_the_decoder(method: str, near: float) -> None:
    """The residual of the decoded image falls to a share of what it is without a data term."""
    pipe, given = prepared("stable_diffusion")
    to_the_end(pipe)
    known = Latents(pipe.vae)
    a = parse_operator("downsample(4)").bind((3, 16, 16))
    wanted = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5)) * 3
    with torch.no_grad():
        y = a.forward(known.decode(wanted))
        before = float((a.forward(known.decode(ended(pipe, given))) - y).norm())
        attach(pipe, y=y, operator="downsample(4)", noise=0.01, method=method)
        after = float((a.forward(known.decode(ended(pipe, given))) - y).norm())
    assert after < near * before


def test_pixels_are_measured_as_they_are() -> None:
    pipe = pixels()
    pipe.scheduler = DescentScheduler.from_config(pipe.scheduler.config, recipe="ddim")
    photo = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    plain = pixel_images(pipe)
    attach(pipe, y=photo, operator="mask(box=[0, 0, 8, 16])", method="ddnm")
    found = pixel_images(pipe)
    detach(pipe)
    torch.testing.assert_close(found[..., 8:, :], photo[..., 8:, :], rtol=0, atol=1e-5)
    assert not torch.equal(found[..., :8, :], plain[..., :8, :])


def test_what_a_pipeline_cannot_do_is_said() -> None:
    pipe, given = prepared("stable_diffusion")
    photo = torch.zeros(1, 3, 16, 16)
    for method in ("dps", "pigdm", "mmps", "ddrm", "hqs", "pocs", "admm"):
        with pytest.raises(UserError, match="attach one of ddnm, diffpir, reddiff"):
            attach(pipe, y=photo, method=method)
    with pytest.raises(UserError, match=r"y is a tensor .* not of type ndarray"):
        attach(pipe, y=photo.numpy())  # type: ignore[arg-type]
    with pytest.raises(UserError, match="Say what to attach"):
        attach(pipe)

    def refused(match: str, **measured: Any) -> None:
        attach(pipe, "cfg", **measured)
        with pytest.raises(UserError, match=match):
            ended(pipe, given)
        detach(pipe)

    refused("no projection", y=torch.zeros(1, 3, 4, 4), operator="downsample(4)", method="ddnm")
    refused("gives", y=torch.zeros(1, 3, 5, 5), operator="downsample(4)")
    refused("NaN", y=photo * torch.nan)
    refused("3 measurements", y=torch.zeros(3, 3, 16, 16))
    pipe, given = prepared("flux")
    attach(pipe, y=photo)
    with pytest.raises(UserError, match="packs its latents"):
        ended(pipe, given)
    detach(pipe)
