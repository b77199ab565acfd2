"""Extractors and resizing: the bundled network, any module, and what makes features comparable."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffdescent.base.errors import UserError
from diffdescent.base.images import from_uint8
from diffdescent.evaluate import ModuleExtractor, extract, load_extractor
from diffdescent.evaluate.resize import resize
from diffdescent.models.classifiers import FeatureNet, load_classifier
from tests.paths import ROOT
from tests.unit.evaluate.pictures import Taps, extractor, pictures

ASSET = ROOT / "src/diffdescent/assets/cifar10-features"


def test_the_bundled_features_are_those_of_its_network() -> None:
    images = pictures(5, size=32)
    found = load_extractor()(images)
    network = load_classifier(ASSET)
    assert isinstance(network, FeatureNet)
    with torch.no_grad():
        assert torch.allclose(found.pool, network.features(from_uint8(images)), atol=1e-4)
        assert found.probs is not None
        assert torch.allclose(found.probs, network(from_uint8(images)).softmax(1), atol=1e-5)
        # The map between its second and third level, written out.
        h = F.max_pool2d(network.down1(network.stem(from_uint8(images))), 2)
        h = F.max_pool2d(network.down2(h + network.res1(h)), 2)
    assert found.spatial is not None
    assert torch.allclose(found.spatial, h[:, :4].flatten(1), atol=1e-4)
    assert found.protocol["network"] == "cifar10-features"


def test_features_of_an_image_do_not_depend_on_its_batch() -> None:
    images = pictures(37, size=32)
    network = load_extractor()
    whole = network(images)
    apart = extract(network, [images[:1], images[1:20], images[20:]])
    assert torch.equal(whole.pool, apart.pool)
    assert whole.spatial is not None
    assert apart.spatial is not None
    assert torch.equal(whole.spatial, apart.spatial)
    assert torch.equal(whole[torch.tensor([3, 30])].pool, network(images[[3, 30]]).pool)


def test_any_module_is_an_extractor() -> None:
    images = pictures(3, channels=1)
    convolution = nn.Conv2d(1, 6, 3)
    found = ModuleExtractor(convolution, name="mine", values=(0, 1))(images)
    with torch.no_grad():
        assert torch.allclose(found.pool, convolution(images / 255).mean((2, 3)), atol=1e-6)
    assert found.spatial is None
    assert found.probs is None


def test_grey_images_are_repeated_to_three_channels() -> None:
    grey = pictures(3, channels=1)
    assert torch.equal(
        extractor()(grey).pool, extractor()(grey.expand(-1, 3, -1, -1).contiguous()).pool
    )
    with pytest.raises(UserError, match="looks at images of 3 channels, not 4"):
        extractor()(pictures(2, channels=4))


def test_the_protocol_tells_networks_weights_and_resizing_apart() -> None:
    other = Taps()
    with torch.no_grad():
        other.weight[0, 0] += 1e-6
    protocols = [
        extractor().protocol,
        extractor("legacy").protocol,
        ModuleExtractor(other, name="taps", size=(8, 8), channels=3).protocol,
        ModuleExtractor(Taps(), name="taps", size=(16, 16), channels=3).protocol,
    ]
    assert all(a != b for i, a in enumerate(protocols) for b in protocols[:i])
    assert extractor().protocol == protocols[0]


class Broken(nn.Module):
    def __init__(self, out: object) -> None:
        super().__init__()
        self.out = out

    def forward(self, x: Tensor) -> object:
        return self.out


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (torch.zeros(32, 2, 3), r"returns \(32, 2, 3\); expected \(n, d\)"),
        ("features", "returns str"),
        (torch.full((32, 4), torch.nan), "NaN or Inf for image 0"),
    ],
)
def test_what_is_no_feature_is_refused(out: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ModuleExtractor(Broken(out), name="broken")(pictures(2))


def test_bad_names_and_images_are_refused() -> None:
    with pytest.raises(
        UserError,
        match="Unknown feature extractor 'cifar10-feature'; did you mean 'cifar10-features'",
    ):
        load_extractor("cifar10-feature")
    with pytest.raises(UserError, match="Unknown resize protocol 'cleen'; did you mean 'clean'"):
        load_extractor(resize="cleen")
    with pytest.raises(UserError, match="Expected uint8 images"):
        extractor()(torch.zeros(2, 3, 8, 8))
    with pytest.raises(UserError, match="no image to look at"):
        extract(extractor(), [])


def test_clean_resizing_is_antialiased_bicubic_and_legacy_is_not() -> None:
    images = torch.randint(
        0, 256, (2, 3, 40, 30), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    for size in ((9, 12), (64, 50)):
        # PyTorch's own antialiased bicubic, another implementation of the same filter.
        other = F.interpolate(images.float(), size=size, mode="bicubic", antialias=True).clamp(
            0, 255
        )
        assert torch.allclose(resize(images, size, "clean"), other, atol=0.02)
    # A pattern as fine as the pixels: antialiasing gives its mean, the legacy protocol whatever it
    # happens to hit.
    stripes = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    stripes[..., ::4] = 200
    assert resize(stripes, (16, 16), "clean")[..., 4:-4, 4:-4].std() < 1
    assert resize(stripes, (16, 16), "legacy").mean() == 0
    assert torch.equal(resize(images, (40, 30), "legacy"), resize(images, (40, 30), "clean"))
