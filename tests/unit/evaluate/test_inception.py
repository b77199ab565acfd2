"""InceptionV3 against recorded activations of the reference architecture, on weights made by a
written rule."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.evaluate import load_extractor
from diffdescent.evaluate.inception import InceptionV3, load_inception
from tests.paths import DATA


def made_by_rule(name: str, shape: tuple[int, ...]) -> Tensor:
    """The rule of inception.json: normals keyed by the name, scaled by what the parameter is."""
    key = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 100003
    z = (
        np.random.Generator(np.random.Philox(key=key))
        .standard_normal(int(np.prod(shape)))
        .reshape(shape)
    )
    if len(shape) >= 2:
        z = z / np.sqrt(np.prod(shape[1:]))
    elif name.endswith(".running_var"):
        z = 1 + 0.1 * np.abs(z)
    elif name.endswith("bn.weight"):
        z = 1 + 0.1 * z
    else:
        z = 0.1 * z
    return torch.from_numpy(z.astype(np.float32))


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    shapes = json.loads((DATA / "inception.json").read_text())["parameters"]
    return {name: made_by_rule(name, tuple(shape)) for name, shape in shapes.items()}


@pytest.fixture(scope="module")
def file(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "pt_inception.pth"
    torch.save(weights, path)
    return path


def close(ours: Tensor, recorded: np.ndarray) -> None:
    """Within 1e-4 of the largest recorded activation, and within 1e-4 of the norm of each
    image's."""
    theirs = torch.from_numpy(recorded)
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()
    off = (ours - theirs).flatten(1).norm(dim=1) / theirs.flatten(1).norm(dim=1)
    assert off.max() <= 1e-4


def test_activations_are_those_of_the_reference_architecture(
    file: Path, weights: dict[str, Tensor]
) -> None:
    with np.load(DATA / "inception.npz") as recorded:
        images = torch.from_numpy(recorded["images"]).permute(0, 3, 1, 2)
        extractor = load_extractor(f"inception:{file}", resize="legacy")
        extractor.micro_batch = 3  # padding three images to 32 would take ten times as long
        found = extractor(images)
        assert found.spatial is not None
        assert found.probs is not None
        close(found.pool, recorded["pool3"])
        # Ours are flattened as TensorFlow has them: rows, columns, channels.
        close(found.spatial.reshape(3, 17, 17, 7).permute(0, 3, 1, 2), recorded["adm_spatial"])
        logits = torch.from_numpy(recorded["logits"]) - weights["fc.bias"]
        close(found.probs, logits.softmax(1).numpy())
        with torch.no_grad():
            first, second = load_inception(file).stem(extractor._prepared(images))
        close(first.mean((2, 3)), recorded["block0_mean"])
        close(second.mean((2, 3)), recorded["block1_mean"])


def test_the_layout_is_that_of_the_weights_file(weights: dict[str, Tensor]) -> None:
    ours = {
        k: tuple(v.shape) for k, v in InceptionV3().state_dict().items() if "num_batches" not in k
    }
    assert ours == {k: tuple(v.shape) for k, v in weights.items()}


def test_safetensors_and_pth_are_the_same_network(
    file: Path, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    save_file(weights, str(tmp_path / "w.safetensors"))
    a, b = (
        load_inception(file).state_dict(),
        load_inception(tmp_path / "w.safetensors").state_dict(),
    )
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_what_is_no_weights_file_of_this_network_is_refused(
    weights: dict[str, Tensor], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"There is no file .*absent\.pth"):
        load_extractor(f"inception:{tmp_path / 'absent.pth'}")
    (tmp_path / "noise.pth").write_bytes(b"not a file of weights")
    with pytest.raises(UserError, match="does not load as plain weights"):
        load_inception(tmp_path / "noise.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="no dictionary of tensors"):
        load_inception(tmp_path / "list.pth")
    torch.save(
        {k: v for k, v in weights.items() if k != "Mixed_6a.branch3x3.conv.weight"},
        tmp_path / "short.pth",
    )
    with pytest.raises(
        UserError,
        match=r"Mixed_6a.branch3x3.conv.weight should be \(384, 288, 3, 3\) and is absent",
    ):
        load_inception(tmp_path / "short.pth")
    torch.save({**weights, "fc.weight": torch.zeros(1000, 2048)}, tmp_path / "torchvision.pth")
    with pytest.raises(
        UserError, match=r"fc.weight should be \(1008, 2048\) and is \(1000, 2048\)"
    ):
        load_inception(tmp_path / "torchvision.pth")
