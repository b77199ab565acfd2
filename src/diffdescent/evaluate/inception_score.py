"""Inception Score (Salimans et al. 2016): are single images sure of their class, and all of them together diverse?

    IS = exp( E_x KL(p(y | x) ‖ p(y)) ),   p(y) = E_x p(y | x)

between 1 and the number of classes. It knows nothing of the data: sharp memorised images score best.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..noise import integers

SPLIT = 5000
"""Images of a split in published scores (ten splits of 50,000); fewer than two splits' worth are one."""

_STEP = 0x7FFF0003
"""Keys the order in which images are dealt to splits."""


def inception_score(probs: Tensor) -> float:
    """The score of ``probs`` (n, k): the mean over splits of at least 5000 images, in a fixed random order.

    (A split of a set that is sorted by class would hold one class, and score 1.)
    """
    splits = max(1, len(probs) // SPLIT)
    order = integers(0, torch.zeros(1, dtype=torch.int64), len(probs), _STEP)[0].argsort(stable=True)
    return mean_over_splits(probs[order] if splits > 1 else probs, splits)


def mean_over_splits(probs: Tensor, splits: int) -> float:
    """The mean of the score over ``splits`` consecutive parts of ``probs`` (n, k)."""
    return float(torch.stack([_one(part) for part in probs.double().chunk(splits)]).mean())


def _one(p: Tensor) -> Tensor:
    return torch.exp(entropy(p.mean(0)) - entropy(p).mean())


def entropy(p: Tensor) -> Tensor:
    """−Σ p·ln p over the last axis, 0·ln 0 = 0."""
    out: Tensor = torch.special.entr(p).sum(-1)
    return out


def over_halves(probs: Tensor, masks: Tensor) -> Tensor:
    """The score of one split for each half: (n, k) and bool (r, n) → (r,)."""
    weights = masks.double() / masks.sum(1, keepdim=True)
    p = probs.double()
    return torch.exp(entropy(weights @ p) - weights @ entropy(p))
