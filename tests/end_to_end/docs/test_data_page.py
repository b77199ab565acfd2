"""docs/data.md: its snippets make files that the project reads, from small archives in the public
layouts."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import re
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffdescent.base.image_sets import read_images
from diffdescent.lab.peculiarity.readers import read_poses
from tests.paths import ROOT

PAGE = ROOT / "docs" / "data.md"


@pytest.fixture
def blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The page's snippets, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def add(archive: tarfile.TarFile, name: str, value: Any) -> None:
    data = pickle.dumps(value)
    entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def test_cifar10(blocks: list[str], tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        add(archive, "batches.meta", {"label_names": ["airplane", "dog"]})
        for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
            add(archive, name, {"data": images, "labels": [0, 1, 1, 0]})
    exec(blocks[0], {})
    found, test = (
        read_images(tmp_path / "cifar10-train.zip"),
        read_images(tmp_path / "cifar10-test.zip"),
    )
    assert found.images.shape == (20, 3, 32, 32)
    assert found.classes == ["airplane", "dog"]
    assert found.labels is not None
    assert found.labels.tolist() == [0] * 10 + [1] * 10
    assert test.images.shape == (4, 3, 32, 32)


def test_mnist(blocks: list[str], tmp_path: Path) -> None:
    digits = np.array([3, 0, 9, 3], np.uint8)
    images = np.repeat(digits, 784).reshape(-1, 28, 28)
    for part in ("train", "t10k"):
        for kind, header, values in (
            ("images-idx3", struct.pack(">4i", 2051, 4, 28, 28), images),
            ("labels-idx1", struct.pack(">2i", 2049, 4), digits),
        ):
            with gzip.open(tmp_path / f"{part}-{kind}-ubyte.gz", "wb") as file:
                file.write(header + values.tobytes())
    exec(blocks[1], {})
    found = read_images(tmp_path / "mnist-train.npz")
    assert found.labels is not None
    assert found.labels.tolist() == [0, 3, 3, 9]
    assert found.images.shape == (4, 1, 28, 28)
    assert (tmp_path / "mnist-test.npz").is_file()


def test_coco(blocks: list[str], tmp_path: Path) -> None:
    points = [v for i in range(17) for v in (10 * i, 5 * i, 2)]
    for part in ("train", "val"):
        (tmp_path / f"person_keypoints_{part}2017.json").write_text(
            json.dumps(
                {
                    "images": [{"id": 7, "width": 200, "height": 100}],
                    "annotations": [
                        {"image_id": 7, "num_keypoints": 17, "keypoints": points},
                        {"image_id": 7, "num_keypoints": 0, "keypoints": [0] * 51},
                    ],
                }
            )
        )
    exec(blocks[2], {})
    with np.load(tmp_path / "coco-val.npz") as file:
        np.testing.assert_allclose(file["kp"][0, :, 0], np.arange(17) / 20, rtol=1e-6)
        np.testing.assert_allclose(file["kp"][0, :, 1], np.arange(17) / 20, rtol=1e-6)
    assert len(read_poses(tmp_path / "coco-val.npz")) == 1
