"""Small images, and a cheap extractor of them, for the tests of references, scores and the
command."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from diffdescent.base.images import save_png
from diffdescent.evaluate import Features, ModuleExtractor


def pictures(
    n: int, seed: int = 0, size: int = 8, channels: int = 3, bright: float = 0.0
) -> Tensor:
    """uint8 (n, channels, size, size): coarse random patterns, brightened by ``bright`` levels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 200, (n, channels, size // 2, size // 2), generator=generator)
    return (coarse + int(bright)).to(torch.uint8).repeat_interleave(2, 2).repeat_interleave(2, 3)


def write(folder: Path, images: Tensor) -> Path:
    """A folder of PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(images):
        save_png(image, folder / f"{i:04d}.png")
    return folder


class Taps(nn.Module):
    """Means of colours and quadrants as features, a coarse map, and probabilities of three
    classes."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 36).reshape(3, 12))

    def forward(self, x: Tensor) -> Features:
        pool = nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)
        return Features(pool, x[:, 0, ::4, ::4].flatten(1), (5 * pool @ self.weight.T).softmax(1))


def extractor(resize: str = "clean") -> ModuleExtractor:
    return ModuleExtractor(Taps(), name="taps", size=(8, 8), channels=3, resize=resize)
