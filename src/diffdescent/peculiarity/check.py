"""Checks of the counter and of a model of figures: reading errors, and whether the model has memorised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..images import to_uint8
from ..predict import Predictor
from ..sample import sample
from .counter import count_limbs, wrong
from .figures import SPECIES, make_figures
from .minima import come_back, nearest_distance
from .statistics import Share, wilson

HELD_OUT = 1
"""Seed of the renders that a model trained on seed 0 has not seen."""
STRENGTHS = (0.05, 0.1, 0.2, 0.3, 0.4)


@dataclass(frozen=True)
class Reading:
    """How a set of figures of known counts is read: wrongly (unreadable ones included), as peculiar, as unreadable.

    ``strength`` is the time they were noised to and denoised from, as a share of the process; 0 is the renders.
    """

    strength: float
    wrong: Share
    peculiar: Share
    unreadable: Share


def check_counter(
    model: Predictor | None, n: int = 300, strengths: Sequence[float] = STRENGTHS, *, seed: int = HELD_OUT
) -> list[Reading]:
    """The counter on n held-out renders, and on the same noised and denoised by ``model`` (DDIM, about 20 steps)."""
    pages, figures = make_figures(n, seed)
    truth = [f.species.counts for f in figures]
    labels = None
    if (getattr(model, "label_count", None) or 0) >= len(SPECIES):
        labels = torch.tensor([list(SPECIES).index(f.species.kind) for f in figures])
    x = torch.from_numpy(pages)[:, None].float().div(127.5).sub(1)
    sets = {0.0: torch.from_numpy(pages)[:, None]}
    if model is not None:
        sets |= {s: come_back(model, x, s, labels, seed=seed) for s in strengths}
    found = []
    for strength, images in sets.items():
        readings = count_limbs(images)
        found.append(
            Reading(
                strength, wilson(int(wrong(readings, truth).sum()), n), wilson(int(readings.peculiar.sum()), n),
                wilson(int((~readings.readable).sum()), n),
            )
        )  # fmt: skip
    return found


@dataclass(frozen=True)
class Memory:
    """Quantiles (1, 10, 50, 90 %) of the distance to the nearest training image: of held-out renders, of samples.

    Samples that lie much nearer than held-out renders do would be copies.
    """

    held_out: tuple[float, ...]
    samples: tuple[float, ...]
    n: int


def check_memory(
    model: Predictor, training: npt.NDArray[np.uint8], n: int = 300, *, steps: int = 50, seed: int = HELD_OUT
) -> Memory:
    """Root mean square distance to the nearest of the training images (m, 32, 32) or its mirror image, in [−1, 1]."""
    pages, _ = make_figures(n, seed)
    labels = None if not getattr(model, "label_count", None) else [i % len(SPECIES) for i in range(n)]
    images = to_uint8(sample(model, "ddim", steps=steps, n=n, seed=seed, labels=labels, micro_batch=50).images)
    at = (0.01, 0.1, 0.5, 0.9)
    real, made = nearest_distance(pages, training), nearest_distance(images[:, 0].numpy(), training)
    return Memory(tuple(np.quantile(real, at).tolist()), tuple(np.quantile(made, at).tolist()), n)
