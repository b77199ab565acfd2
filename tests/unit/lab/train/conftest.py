"""A tiny data set, and recipes so small that a step takes a few milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

UNET = {
    "block_out_channels": [8, 8],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "norm_num_groups": 4,
    "attention_head_dim": 8,
    "dropout": 0.1,  # so that a resumed run must also repeat the network's own random numbers
}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """20 labelled 8×8 RGB images of 2 classes: dark ones and bright ones."""
    rng = np.random.default_rng(0)
    labels = np.arange(20) % 2
    images = rng.integers(0, 60, (20, 8, 8, 3)) + 190 * labels[:, None, None, None]
    path = tmp_path / "data.npz"
    np.savez(path, images.astype(np.uint8), labels)
    return path


@pytest.fixture
def values(tmp_path: Path, data: Path) -> dict[str, Any]:
    """A recipe as plain values; tests change what they are about."""
    return {
        "out": str(tmp_path / "run"),
        "data": {"path": str(data)},
        "model": dict(UNET),
        "optimizer": {"lr": 1e-3, "warmup": 2},
        "run": {
            "steps": 6,
            "batch": 4,
            "checkpoint_every": 2,
            "log_every": 2,
            "device": "cpu",
            "threads": 1,
        },
    }


def write_recipe(path: Path, values: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path
