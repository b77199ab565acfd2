"""What a run looks like while it trains: a sheet of samples, or a classifier's accuracy on held-out images."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..data import ImageSet
from .config import ProcessConfig, TrainConfig
from .objectives import denoise, edm_denoise, make_vp

_STEPS = 25


@torch.no_grad()
def sample_sheet(
    network: nn.Module, config: TrainConfig, shape: tuple[int, int, int], null: int | None, rows: int = 8
) -> torch.Tensor:
    """uint8 (C, 8·H, columns·W): column k shows class k (all of the classes, or 8 unconditional columns), from fixed
    noise.

    Deterministic DDIM on x0 and ε with ``_STEPS`` steps: x ← α' x0 + σ' (x − α x0)/σ, x0 clipped to the data's range.
    """
    columns = 8 if null is None else min(null, 20)
    device = next(network.parameters()).device
    x = torch.randn((rows * columns, *shape), generator=torch.Generator().manual_seed(0)).to(device)
    labels = None if null is None else torch.arange(columns, device=device).repeat(rows)
    levels = _levels(config.process)
    x = x * levels[0][2]
    for (t, a, s), (_, a_next, s_next) in pairwise(levels):
        x0 = _x0(network, config, x, t, a, s, labels).clamp(-1, 1)
        x = a_next * x0 + s_next * (x - a * x0) / s
    pixels = x.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).cpu()
    channels, height, width = shape
    grid = pixels.reshape(rows, columns, channels, height, width).permute(2, 0, 3, 1, 4)
    return grid.reshape(channels, rows * height, columns * width)


def _levels(process: ProcessConfig) -> list[tuple[float, float, float]]:
    """(t, α, σ) from the noisiest level to σ = 0."""
    if process.kind == "edm":
        ramp = np.linspace(80.0 ** (1 / 7), 0.002 ** (1 / 7), _STEPS) ** 7
        return [(float(s), 1.0, float(s)) for s in ramp] + [(0.0, 1.0, 0.0)]
    vp = make_vp(process)
    times = np.linspace(vp.t_max, 0, _STEPS + 1)[:-1].round()
    alpha, sigma = vp.alpha_sigma(times)
    return [(float(t), float(a), float(s)) for t, a, s in zip(times, alpha, sigma, strict=True)] + [(-1.0, 1.0, 0.0)]


def _x0(
    network: nn.Module, config: TrainConfig, x: torch.Tensor, t: float, a: float, s: float, labels: torch.Tensor | None
) -> torch.Tensor:
    if config.process.kind == "edm":
        return edm_denoise(network, x, np.full(len(x), s), config.process.sigma_data, labels)
    output = denoise(network, x, torch.full((len(x),), t, device=x.device), labels)
    return (x - s * output) / a if config.loss.prediction == "eps" else a * x - s * output


def save_sheet(sheet: torch.Tensor, path: Path) -> None:
    """Write uint8 (C, H, W) as a PNG."""
    from PIL import Image

    pixels = sheet.permute(1, 2, 0).numpy()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path)


@torch.no_grad()
def accuracy(
    network: nn.Module, config: TrainConfig, images: ImageSet, most: int | None = None, batch: int = 250
) -> dict[str, float]:
    """Share of images whose most probable class is their label.

    ``features``: {"accuracy": …}. ``guide``: one figure per noise level, {"accuracy_t=0": …, "accuracy_t=100": …}, with
    fixed noise. ``most`` limits the images, spread evenly over the set.
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
