"""Inception Score (Salimans et al. 2016): are single images sure of their class, and all of them
together diverse?

    IS = exp( E_x KL(p(y | x) ‖ p(y)) ),   p(y) = E_x p(y | x)

between 1 and the number of classes. It knows nothing of the data: sharp memorised images score
best.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffdescent.core.noise import integers

SPLIT = 5000
"""Images of a split in published scores (ten splits of 50,000); fewer than two splits' worth are
one."""

_STEP = 0x7FFF0003
"""Keys the order in which images are dealt to splits."""


def inception_score(probs: Tensor) -> float:
    """The score of ``probs`` (n, k): the mean over splits of at least 5000 images, in a fixed
    random order.

    (A split of a set that is sorted by class would hold one class, and score 1.)
    """
    return mean_over_splits(probs, _splits(len(probs)))


def mean_over_splits(probs: Tensor, splits: Sequence[Tensor]) -> float:
    """The mean of the score over ``splits``, the indices of each split in ``probs`` (n, k)."""
    return float(torch.stack([_one(probs[part].double()) for part in splits]).mean())


def _splits(n: int) -> tuple[Tensor, ...]:
    """The images of each split."""
    splits = max(1, n // SPLIT)
    if splits == 1:
        return (torch.arange(n),)
    return (
        integers(0, torch.zeros(1, dtype=torch.int64), n, _STEP)[0]
        .argsort(stable=True)
        .chunk(splits)
    )


def _one(p: Tensor) -> Tensor:
    return torch.exp(entropy(p.mean(0)) - entropy(p).mean())


def entropy(p: Tensor) -> Tensor:
    """−Σ p·ln p over the last axis, 0·ln 0 = 0."""
    out: Tensor = torch.special.entr(p).sum(-1)
    return out


def over_halves(probs: Tensor, masks: Tensor) -> Tensor:
    """The score of each half: (n, k) and bool (r, n) → (r,).

    A half has as many splits as the whole, of half as many images each: its bias is then twice the
    whole's.
    """
    return torch.stack(
        [_of_half(probs[part].double(), masks[:, part]) for part in _splits(len(probs))]
    ).mean(0)


def _of_half(p: Tensor, masks: Tensor) -> Tensor:
    weights = masks.double() / masks.sum(1, keepdim=True)
    return torch.exp(entropy(weights @ p) - weights @ entropy(p))
