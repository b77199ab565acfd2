"""The noise of a k-diffusion function: a caller's sampler, or our keyed noise; and its size."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.noise import NoiseSource
from diffdescent.core.process import Point
from diffdescent.run import noise_source

from .sigmas import Space

NoiseSampler = Callable[[Tensor, Tensor], Tensor]
"""``noise_sampler(sigma, sigma_next) → unit noise`` of x's shape; both levels are tensors without
dimensions."""


def keyed(kind: str, seed: int | None, samples: Sequence[int] | None, x: Tensor) -> NoiseSource:
    if seed is None:
        seed = int(torch.randint(2**63 - 1, ()))
    index = range(len(x)) if samples is None else samples
    if len(index) != len(x):
        raise UserError(f"samples has {len(index)} indices for {len(x)} images; give one for each.")
    return noise_source(kind, seed, index, x.device)


@dataclass(frozen=True)
class GivenNoise:
    """A k-diffusion ``noise_sampler`` as a noise source; ``given`` are the caller's own numbers for
    the levels."""

    sampler: NoiseSampler
    space: Space
    given: Mapping[Point, float]

    def initial(self, shape: Sequence[int]) -> Tensor:
        raise UserError("A k-diffusion function starts from the x that it is given.")

    def __call__(self, x: Tensor, step: int, draw: int, src: Point, dst: Point) -> Tensor:
        # new_full fills on the device; a tensor made of a number would be copied there, which
        # waits.
        z = self.sampler(
            *(x.new_full((), self.given.get(p, self.space.sigma(p))) for p in (src, dst))
        )
        if z.shape != x.shape:
            raise UserError(
                f"noise_sampler returned shape {tuple(z.shape)} for x of shape {tuple(x.shape)}."
            )
        return z.to(x.dtype)


@dataclass(frozen=True)
class ScaledNoise:
    """``s_noise``: noise of another size."""

    source: NoiseSource
    factor: float

    def initial(self, shape: Sequence[int]) -> Tensor:
        return self.source.initial(shape)

    def __call__(self, x: Tensor, step: int, draw: int, src: Point, dst: Point) -> Tensor:
        z = self.source(x, step, draw, src, dst)
        return z if self.factor == 1 else z * self.factor
