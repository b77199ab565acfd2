"""Small distributions that the exact denoisers are checked on."""

from __future__ import annotations

import torch

from diffdescent.core.process import VP
from diffdescent.models.coordinates import Cosine
from diffdescent.models.dataset import Dataset
from diffdescent.models.gaussian import Gaussian
from diffdescent.models.mixture import Mixture

SHAPE = (3, 4, 4)
SIZE = 48


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make_gaussian(kind: str = "factors") -> Gaussian:
    mean, variance = rand(*SHAPE, seed=1), rand(*SHAPE, seed=2).exp() / 10
    if kind == "diagonal":
        return Gaussian(mean, variance, VP.named())
    if kind == "factors":  # low rank + isotropic
        return Gaussian(mean, 0.05, VP.named(), factors=rand(SIZE, 5, seed=3))
    return Gaussian(
        mean, variance, VP.named(), factors=rand(20, 5, seed=3)
    )  # a diagonal residual, on 20 coordinates


def make_mixture(kind: str = "factors") -> Mixture:
    """Three components: 0 and 2 of class 0, 1 of class 2 (so that class 1 has none)."""
    weights, means = torch.tensor([0.2, 0.5, 0.3]), rand(3, SIZE, seed=4)
    variances, factors = rand(3, SIZE, seed=5).exp() / 10, None
    if kind != "diagonal":
        factors = rand(3, 20, 4, seed=6)
    if kind in ("factors", "cosine"):
        variances[:, :20] = 0.03
    order = torch.randperm(SIZE, generator=torch.Generator().manual_seed(7))
    return Mixture(
        weights,
        means,
        variances,
        VP.named(),
        factors=factors,
        labels=torch.tensor([0, 2, 0]),
        shape=SHAPE,
        coordinates=Cosine(SHAPE, order) if kind == "cosine" else None,
    )


def make_dataset(chunk: int | None = None) -> Dataset:
    generator = torch.Generator().manual_seed(8)
    images = torch.randint(0, 256, (50, *SHAPE), generator=generator, dtype=torch.uint8)
    return Dataset(images, VP.named(), labels=torch.arange(50) % 3, chunk=chunk)
