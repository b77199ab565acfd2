"""A model so small that a shard takes milliseconds: a mixture of two Gaussians over 3 × 4 × 4
pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import diffdescent as dd
from diffdescent.lab.study import StudyConfig, make_study
from diffdescent.models.mixture import Mixture
from diffdescent.models.mixture_file import save_mixture

Make = Callable[..., StudyConfig]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    means = (
        torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        * 0.4
    )
    variances = torch.full_like(means, 0.05)
    save_mixture(
        Mixture(
            torch.ones(2),
            means,
            variances,
            dd.VP.named(),
            labels=torch.arange(2),
            classes=("a", "b"),
        ),
        folder,
    )
    return folder


@pytest.fixture(scope="session")
def make(tiny: Path) -> Make:
    """A study of two samplers at two budgets, 4 cells of 12 samples in shards of 4; entries can be
    replaced."""

    def build(**entries: Any) -> StudyConfig:
        values: dict[str, Any] = {
            "model": str(tiny),
            "samplers": ["ddim", "ge"],
            "grids": ["loglinear"],
            "nfe": [4, 8],
            "n": 12,
            "shard": 4,
            "images": 5,
            "resamples": 20,
        }
        return make_study({**values, **entries})

    return build
