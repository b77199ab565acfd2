"""Scores against the model's own solution: what a sampler's images lack of the images that the
model itself stands for, from the same noise. No data are needed.

With x_i the image of a sampler and x*_i the converged solution from the same noise, φ a feature
extractor and n images:

    solution_rmse     √(mean over i and pixels of (x_i − x*_i)²)
    solution_feature  √(Σ_i ‖φ(x_i) − φ(x*_i)‖² / Σ_i ‖φ(x*_i) − mean φ(x*)‖²)
    solution_fd       the Fréchet distance of {φ(x_i)} and {φ(x*_i)}

All are 0 for an exact solver. The second is a share of how far the model's own images lie apart: 1
is as bad as the features' mean. The third forgives images that move but keep their distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .exact_errors import rmse_score
from .features import JSON
from .half_sampling import LEAST, check_resamples, halves, interval
from .notes import Note
from .scored import Score, how, scored

OWN = {
    "solution_rmse": "RMSE to own solution",
    "solution_feature": "Feature distance to own solution",
    "solution_fd": "Fréchet distance to own images",
}
"""Distances to the model's own solution from the same noise, with their titles."""
AGAINST = "the model's own solution from the same noise"
FRECHET_HALVES = 50
"""Halves behind the interval of a Fréchet distance, at most: each is a singular value problem."""


def solution_rmse(squared_errors: Tensor, *, seed: int = 0, resamples: int = 200) -> Score:
    """ "solution_rmse", by the mean squared error (n,) of each image."""
    found = rmse_score(squared_errors, seed=seed, resamples=resamples)
    protocol = {**found.protocol, "metric": "solution_rmse", "against": AGAINST}
    return replace(found, metric="solution_rmse", protocol=protocol)


def solution_feature(
    ours: Tensor, own: Tensor, features: JSON, *, seed: int = 0, resamples: int = 200
) -> Score:
    """ "solution_feature", by the features (n, d) of the images and of the own solutions."""
    apart = (ours.double() - own.double()).square().sum(1)
    spread = (own.double() - own.double().mean(0)).square().sum(1).mean().clamp_min(1e-30)
    value = math.sqrt(float(apart.mean() / spread))

    def over(masks: Tensor) -> Tensor:
        return ((masks.double() @ apart) / masks.sum(1) / spread).sqrt()

    return _score("solution_feature", value, len(ours), over, features, seed, resamples)


def solution_fd(
    ours: Tensor, own: Tensor, features: JSON, *, seed: int = 0, resamples: int = 200
) -> Score:
    """ "solution_fd", by the features (n, d) of the images and of the own solutions.

    Halves hold the same samples on both sides, so what is common to both does not widen the
    interval.
    """
    a, b = ours.double(), own.double()

    def over(masks: Tensor) -> Tensor:
        return torch.tensor([_frechet(a[m], b[m]) for m in masks], dtype=torch.float64)

    draws = min(resamples, FRECHET_HALVES)
    return _score("solution_fd", _frechet(a, b), len(a), over, features, seed, draws)


def _frechet(a: Tensor, b: Tensor) -> float:
    """‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2(Σ_aΣ_b)^½), by the singular values of the centred features:
    with Σ_a = AᵀA and Σ_b = BᵀB the last trace is their sum for ABᵀ, however few the images."""
    shift = float((a.mean(0) - b.mean(0)).square().sum())
    left, right = (_root(one - one.mean(0)) / math.sqrt(max(len(one) - 1, 1)) for one in (a, b))
    common = float(torch.linalg.svdvals(left @ right.T).sum())
    total = float(left.square().sum() + right.square().sum())
    return max(shift + total - 2 * common, 0.0)


def _root(centred: Tensor) -> Tensor:
    """R (min(n, d), d) with RᵀR = XᵀX."""
    if len(centred) <= centred.shape[1]:
        return centred
    root: Tensor = torch.linalg.qr(centred, mode="r").R
    return root


def _score(
    name: str,
    value: float,
    n: int,
    over: Callable[[Tensor], Tensor],
    features: JSON,
    seed: int,
    resamples: int,
) -> Score:
    check_resamples(resamples)
    protocol: dict[str, JSON] = {"metric": name, "against": AGAINST, "features": features}
    if resamples < 1 or n < LEAST:
        return scored(name, value, n, protocol, None)
    masks = halves(n, resamples, seed)
    protocol["interval"] = how(masks, seed)
    return scored(name, value, n, protocol, interval(value, over(masks), n, (0.0, math.inf)))


@dataclass(frozen=True)
class CoarseSolution(Note, kind="coarse solution"):
    """The own solution is not known well enough for the distances that were measured."""

    error: float
    nearest: float
    levels: int

    @property
    def group(self) -> str:
        return self.kind

    def __str__(self) -> str:
        return (
            f"the model's own solution, on {self.levels} levels, is known to {self.error:.2g} only,"
            f" and a sampler lies {self.nearest:.2g} from it: give more levels (--solution"
            f" {2 * self.levels}, solution={2 * self.levels} in Python) before believing"
            " differences of that size"
        )
