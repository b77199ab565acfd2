"""The batch of every step, as a function of (seed, step) alone.

Nothing here remembers anything, so a resumed run sees the same images in the same order with the
same noise, and P processes see between them exactly what one process sees: random numbers come from
the counter-based generator Philox (Salmon et al. 2011), keyed by the seed, with the step and, for
the noise, the image's place in the global batch as the counter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from diffdescent.base.errors import UserError
from diffdescent.base.image_sets import ImageSet

from .config import DataConfig

_ORDER, _STEP, _NOISE = 1, 2, 3  # streams that never share a counter


def _generator(seed: int, stream: int, step: int, place: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, stream], counter=[0, 0, place, step]))


@dataclass(frozen=True)
class Batch:
    """One process's part of a step's batch.

    ``x`` float32 (b, C, H, W) in [−1, 1]; ``labels`` int64 (b,) or None; ``u`` float64 (b,) in [0,
    1), stratified over the global batch, from which the noise level is drawn; ``drop`` float64 (b,)
    uniform, for label dropout; ``noise`` float32 like ``x``.
    """

    x: torch.Tensor
    labels: torch.Tensor | None
    u: npt.NDArray[np.float64]
    drop: npt.NDArray[np.float64]
    noise: torch.Tensor


class Batches:
    """``batches.at(step)`` is the batch of that step for process ``rank`` of ``world``."""

    def __init__(
        self,
        images: ImageSet,
        config: DataConfig,
        size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if config.shift >= min(images.shape[1:]):
            raise UserError(
                f"data.shift={config.shift} is as much as the images are large ({images.shape[1]} ×"
                f" {images.shape[2]}); give less."
            )
        self.images, self.config, self.seed = images, config, seed
        self.size, self.rank, self.world = size, rank, world
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def at(self, step: int) -> Batch:
        """The batch of a step; the same at every call and for every number of processes."""
        places = np.arange(self.rank, self.size, self.world)
        chosen = torch.from_numpy(
            np.array([self._index(step * self.size + int(p)) for p in places])
        )
        rng = _generator(self.seed, _STEP, step)
        # All draws are made for the global batch and then sliced, so that they do not depend on how
        # many processes share it.
        u = (rng.permutation(self.size) + rng.random(self.size)) / self.size
        drop, flip = rng.random(self.size), rng.random(self.size) < 0.5
        shifts = rng.integers(0, 2 * self.config.shift + 1, (self.size, 2))
        holes = rng.random((self.size, 2))
        x = self.images.images[chosen].float().div_(127.5).sub_(1.0)
        if self.config.flip:
            x = torch.where(torch.from_numpy(flip[places])[:, None, None, None], x.flip(-1), x)
        if self.config.shift:
            x = _shift(x, shifts[places], self.config.shift)
        if self.config.cutout:
            x = _cut(x, holes[places], self.config.cutout)
        noise = np.stack(
            [
                _generator(self.seed, _NOISE, step, int(p)).standard_normal(x.shape[1:], np.float32)
                for p in places
            ]
        )
        labels = None if self.images.labels is None else self.images.labels[chosen]
        return Batch(x, labels, u[places], drop[places], torch.from_numpy(noise))

    def _index(self, position: int) -> int:
        epoch, place = divmod(position, len(self.images))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = _generator(self.seed, _ORDER, epoch).permutation(len(self.images))
        return int(self._order[place])


def _shift(x: torch.Tensor, offsets: npt.NDArray[np.int64], most: int) -> torch.Tensor:
    padded = F.pad(x, (most,) * 4, mode="reflect")
    height, width = x.shape[2:]
    return torch.stack(
        [p[:, i : i + height, j : j + width] for p, (i, j) in zip(padded, offsets, strict=True)]
    )


def _cut(x: torch.Tensor, centres: npt.NDArray[np.float64], side: int) -> torch.Tensor:
    out = x.clone()
    height, width = x.shape[2:]
    for image, (a, b) in zip(out, centres, strict=True):
        top, left = int(a * height) - side // 2, int(b * width) - side // 2
        image[:, max(top, 0) : top + side, max(left, 0) : left + side] = 0.0
    return out
