"""What a run looks like while it trains: a sheet of samples, or a classifier's accuracy on held-out
images."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from diffdescent.base.image_sets import ImageSet
from diffdescent.base.images import sheet, to_uint8
from diffdescent.core.network import EDM, Network
from diffdescent.core.predict import Predictor
from diffdescent.core.process import VE
from diffdescent.run import sample

from .config import TrainConfig
from .objectives import denoise, make_vp

_STEPS, _ROWS = 25, 8


def sample_sheet(
    network: nn.Module,
    config: TrainConfig,
    shape: tuple[int, int, int],
    null: int | None,
) -> torch.Tensor:
    """uint8 (C, 8H, columns·W): column k shows class k (all of the classes, or 8 unconditional
    columns), from fixed noise, by DDIM in ``_STEPS`` steps with x0 clipped to the data's range."""
    columns = 8 if null is None else min(null, 20)
    n = _ROWS * columns
    device = next(network.parameters()).device
    images = sample(
        _predictor(network, config, shape, device, null),
        "ddim | threshold",
        grid="karras" if config.process.kind == "edm" else "uniform(spacing=trailing)",
        steps=_STEPS,
        n=n,
        labels=None if null is None else torch.arange(n) % columns,
        batch_size=n,
        progress=False,
    ).images
    return sheet(to_uint8(images).cpu(), columns=columns, scale=1, gap=0)


def _predictor(
    network: nn.Module,
    config: TrainConfig,
    shape: tuple[int, int, int],
    device: torch.device,
    classes: int | None,
) -> Predictor:
    def module(x: torch.Tensor, t: torch.Tensor, labels: torch.Tensor | None) -> torch.Tensor:
        return denoise(network, x, t, None if labels is None else labels.to(device))

    if config.process.kind == "edm":
        sigma_data = config.process.sigma_data
        return EDM(module, VE(), shape, sigma_data, device=device, label_count=classes)
    process, kind = make_vp(config.process), config.loss.prediction
    return Network(module, process, kind, shape, device=device, label_count=classes)


@torch.no_grad()
def accuracy(
    network: nn.Module,
    config: TrainConfig,
    images: ImageSet,
    most: int | None = None,
    batch: int = 250,
) -> dict[str, float]:
    """Share of images whose most probable class is their label.

    ``features``: {"accuracy": …}. ``guide``: one figure per noise level, {"accuracy_t=0": …,
    "accuracy_t=100": …}, with fixed noise. ``most`` limits the images, spread evenly over the set.
    """
    assert images.labels is not None  # checked when the test images were read
    device = next(network.parameters()).device
    count = len(images) if most is None else min(most, len(images))
    chosen = torch.linspace(0, len(images) - 1, count).long()
    noise = torch.Generator().manual_seed(0)
    levels: dict[str, float | None] = {"accuracy": None}
    if config.task == "guide":
        top = config.process.steps - 1
        levels = {f"accuracy_t={t:.0f}": float(t) for t in np.linspace(0, top, 11).round()}
    right = dict.fromkeys(levels, 0)
    for part in torch.split(chosen, batch):
        x = images.images[part].float().div(127.5).sub(1.0)
        for name, t in levels.items():
            if t is None:
                logits = network(x.to(device))
            else:
                point = make_vp(config.process).point(t)
                noisy = point.alpha * x + point.sigma * torch.randn(x.shape, generator=noise)
                logits = network(noisy.to(device), torch.full((len(x),), t, device=device))
            right[name] += int((logits.argmax(1).cpu() == images.labels[part]).sum())
    return {name: right[name] / count for name in levels}
