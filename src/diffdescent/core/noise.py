"""Noise that belongs to a sample, not to a batch.

Philox4x32-10 (Salmon et al., SC 2011), a counter-based generator: the four counter words are (block
of four numbers, sample, step, draw) and the key is the 64-bit seed. The integers are the same on
every device and for every batch size; the normals come from them by Box–Muller in float64 where the
device has it (in float32 otherwise, where of a million none was off by more than 2e-5).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Protocol

import torch
from torch import Tensor

from diffdescent.base.errors import UserError

from .limits import In
from .options import check_option
from .process import Point

INITIAL = -1
"""The step that keys the initial noise x_T (its draw is 0)."""
MEASUREMENT = -2
"""The step that keys a measurement: draw 0 what is random in its operator (sample 0), draw 1 its
noise."""

_MASK = 0xFFFFFFFF
_M0, _M1 = 0xD2511F53, 0xCD9E8D57
_W0, _W1 = 0x9E3779B9, 0xBB67AE85


Words = tuple[Tensor, Tensor, Tensor, Tensor]

_CHUNK = 1 << 15
"""Counter blocks worked on at a time: few enough that a temporary (256 KiB) stays in a core's
cache."""


SEED = Annotated[int, In(0, 2**64 - 1)]
"""A seed is the key of the generator: 64 bits."""
SAMPLE = Annotated[int, In(0, 2**48 - 1)]
"""The number of a sample has 48 bits of the counter."""


def check_seed(seed: int) -> int:
    """``seed`` as a whole number. Raises :class:`UserError` for what is none of 64 bits."""
    return int(check_option("noise", "seed", seed, SEED))


def philox(counter: Words, key: int) -> Words:
    """Ten rounds of Philox4x32. Counter words and result are int64 tensors holding 32-bit values;
    they broadcast.

    A round is (c0, c1, c2, c3) → (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)).
    The int64 product wraps, its bits are those of the unsigned one; the low words are only cut to
    32 bits once they are xored or done.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key & _MASK, (key >> 32) & _MASK
    for _ in range(10):
        p0, p1 = c0 * _M0, c2 * _M1
        c0 = ((p1 >> 32) ^ c1).bitwise_xor_(k0).bitwise_and_(_MASK)
        c2 = ((p0 >> 32) ^ c3).bitwise_xor_(k1).bitwise_and_(_MASK)
        c1, c3 = p1, p0
        k0, k1 = (k0 + _W0) & _MASK, (k1 + _W1) & _MASK
    return c0, c1.bitwise_and_(_MASK), c2, c3.bitwise_and_(_MASK)


def _words(seed: int, samples: Tensor, blocks: Tensor, step: int, draw: int) -> Words:
    """The four words of each counter block, int64 of shape (len(samples), len(blocks))."""
    seed = check_seed(seed)
    sample = samples.to(torch.int64)[:, None]
    word2 = torch.full_like(sample, step & _MASK)
    # The high word of the sample's index shares the last counter word with the draw (draws are
    # few).
    word3 = (draw & 0xFFFF) | ((sample >> 32) & 0xFFFF) << 16
    return philox((blocks[None, :], sample & _MASK, word2, word3), seed)


def integers(seed: int, samples: Tensor, numel: int, step: int, draw: int = 0) -> Tensor:
    """Uniform 32-bit integers, int64 of shape (len(samples), numel), keyed by (seed, sample, step,
    draw)."""
    blocks = torch.arange((numel + 3) // 4, device=samples.device)
    return torch.stack(_words(seed, samples, blocks, step, draw), dim=-1).flatten(1)[:, :numel]


def normals(
    seed: int,
    samples: Tensor,
    shape: Sequence[int],
    step: int,
    draw: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Unit normals of shape (len(samples), \\*shape), keyed by (seed, sample, step, draw).

    Box–Muller on neighbouring integers: z = √(−2 ln u₁)·(cos 2πu₂, sin 2πu₂) with u = (k + ½)/2³².
    The work is done piece by piece, which changes no number: each depends on its own counter alone.
    """
    numel = math.prod(shape)
    blocks = torch.arange((numel + 3) // 4, device=samples.device)
    z = torch.empty(len(samples), len(blocks), 4, dtype=dtype, device=samples.device)
    rows = max(1, _CHUNK // max(1, len(blocks)))
    for i in range(0, len(samples), rows):
        for j in range(0, len(blocks), _CHUNK):
            words = _words(seed, samples[i : i + rows], blocks[j : j + _CHUNK], step, draw)
            _box_muller(words, z[i : i + rows, j : j + _CHUNK])
    return z.flatten(1)[:, :numel].reshape(len(samples), *shape)


def _box_muller(words: Words, out: Tensor) -> None:
    """Four normals from four words, into ``out`` of shape (\\*words' shape, 4)."""
    # Float64 on MPS does not exist; there the radius' u₁ must not round to 1.
    real = torch.float32 if out.device.type == "mps" else torch.float64
    for first, second, place in ((words[0], words[1], 0), (words[2], words[3], 2)):
        u = first.to(real).add_(0.5).mul_(2.0**-32)
        radius = (
            (u.clamp_(max=1 - 2**-24) if real == torch.float32 else u).log_().mul_(-2.0).sqrt_()
        )
        angle = second.to(real).add_(0.5).mul_(2.0**-32).mul_(2.0 * math.pi)
        out[..., place] = torch.cos(angle).mul_(radius)
        out[..., place + 1] = angle.sin_().mul_(radius)


class NoiseSource(Protocol):
    """What the executor asks for noise."""

    def initial(self, shape: Sequence[int]) -> Tensor:
        """x_T's unit noise, (B, \\*shape)."""
        ...

    def __call__(self, x: Tensor, step: int, draw: int, src: Point, dst: Point) -> Tensor:
        """Unit noise like ``x`` for draw number ``draw`` of ``step``, which goes from ``src`` to
        ``dst``."""
        ...


@dataclass(frozen=True)
class Keyed:
    """Independent noise for each (seed, sample, step, draw); ``samples`` are the batch's indices,
    shape (B,)."""

    seed: int
    samples: Tensor

    def initial(self, shape: Sequence[int]) -> Tensor:
        return normals(self.seed, self.samples, shape, INITIAL)

    def __call__(self, x: Tensor, step: int, draw: int, src: Point, dst: Point) -> Tensor:
        return normals(self.seed, self.samples, x.shape[1:], step, draw, x.dtype)


@dataclass(frozen=True)
class Brownian:
    """Noise from one Brownian path per sample, so that runs with different step counts share their
    noise.

    The path W runs over the clock u = (2/π)·atan σ̃ in [0, 1], which every grid crosses; the noise
    of a step from u₁ to u₀ < u₁ is (W(u₁) − W(u₀))/√(u₁ − u₀). W is built by midpoint displacement
    to ``depth`` binary levels, each node keyed by (seed, sample, level, index): any value can be
    had without the others. Below 2^−depth the path is a straight line between nodes, so steps must
    be longer than that.

    Every draw follows the path over its own levels, whatever its number: an inner stage shares the
    path with its step (k-diffusion's ``BrownianTreeNoiseSampler``).
    """

    seed: int
    samples: Tensor
    depth: int = 18
    # W where the last step ended, which is where the next one starts: half the work of a run.
    _reached: dict[tuple[float, torch.Size, torch.dtype], Tensor] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def initial(self, shape: Sequence[int]) -> Tensor:
        return normals(self.seed, self.samples, shape, INITIAL)

    def _node(self, shape: Sequence[int], level: int, index: int, dtype: torch.dtype) -> Tensor:
        # Steps of a sampler are small non-negative numbers; nodes use the upper half of the step
        # word.
        key = 0x80000000 | (1 << level) + index
        return normals(self.seed, self.samples, shape, key, 1, dtype)

    def path(self, u: float, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
        """W(u), with W(0) = 0 and Var W(u) = u, shape (B, \\*shape)."""
        low, high = 0.0, 1.0
        w_low = torch.zeros((len(self.samples), *shape), dtype=dtype, device=self.samples.device)
        w_high = self._node(shape, 0, 0, dtype)
        index = 0
        for level in range(1, self.depth + 1):
            if u in (low, high):
                break
            middle = (low + high) / 2
            w_middle = (w_low + w_high) / 2 + self._node(shape, level, index, dtype) * (
                math.sqrt(high - low) / 2
            )
            if u >= middle:
                low, w_low, index = middle, w_middle, 2 * index + 1
            else:
                high, w_high, index = middle, w_middle, 2 * index
        return torch.lerp(w_low, w_high, (u - low) / (high - low))

    def __call__(self, x: Tensor, step: int, draw: int, src: Point, dst: Point) -> Tensor:
        u1, u0 = (math.atan2(p.sigma, p.alpha) * 2 / math.pi for p in (src, dst))
        if abs(u1 - u0) < 2.0 ** (1 - self.depth):
            raise UserError(
                f"Step {step} is too short for a Brownian path of depth {self.depth}; use fewer"
                " steps or independent noise."
            )
        shape, dtype = x.shape[1:], x.dtype
        known = self._reached.pop((u1, shape, dtype), None)
        w1, w0 = (
            self.path(u1, shape, dtype) if known is None else known,
            self.path(u0, shape, dtype),
        )
        self._reached.clear()
        self._reached[u0, shape, dtype] = w0
        return (w1 - w0) * (1 / math.sqrt(abs(u1 - u0)))
