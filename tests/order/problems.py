"""Data whose probability flow is known: Gaussians in closed form, and one-dimensional mixtures by
their quantiles.

Every coordinate of the state is a problem of its own, a mixture of two Gaussians with weights w_k,
means μ_k and variances v_k (a Gaussian where the two are equal). In σ̃ = σ/α and x̃ = x/α its
marginal is Σ w_k N(μ_k, v_k + σ̃²), and

    E[x0 | x̃] = Σ r_k (μ_k + v_k/(v_k + σ̃²)(x̃ − μ_k)),   r_k the posterior of component k.

In one dimension the flow keeps every quantile: F_σ̃(x̃(σ̃)) is constant along it. For a Gaussian
this is x̃ − μ ∝ √(v + σ̃²); for a mixture it is one equation, solved here to the last bits.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from diffdescent.core.predict import Kind, Prediction, conversion
from diffdescent.core.process import Point

# Rows: weight, mean, variance of either component; one column per coordinate. The first four are
# Gaussians, with several variances so that no error constant vanishes by accident; the last three
# are bent.
GAUSSIANS = 4
WEIGHTS = np.array([[1, 1, 1, 1, 0.5, 0.7, 0.35], [0, 0, 0, 0, 0.5, 0.3, 0.65]])
MEANS = np.array([[0.3, -0.8, 1.1, 0.0, -0.7, -0.5, 0.9], [0.3, -0.8, 1.1, 0.0, 0.8, 0.9, -0.4]])
VARIANCES = np.array([[0.3, 0.6, 1.0, 2.0, 0.3, 0.25, 0.5], [0.3, 0.6, 1.0, 2.0, 0.4, 0.5, 0.3]])
QUANTILES = np.array([0.9, -1.1, 0.6, 1.3, 0.5, -0.7, 1.2])
"""Where each coordinate starts, as a number of standard deviations."""


class Problem:
    """The denoiser and the exact flow in the coordinates of any process."""

    def x0(self, x: Tensor, at: Point) -> Tensor:
        """E[x0 | x] for x of shape (B, d)."""
        total = VARIANCES + at.ratio**2
        centred = x.numpy()[:, None, :] / at.alpha - MEANS
        density = WEIGHTS / np.sqrt(total) * np.exp(-0.5 * centred**2 / total)
        estimate = MEANS + VARIANCES / total * centred
        return torch.from_numpy((density * estimate).sum(1) / density.sum(1))

    def predict(self, x: Tensor, at: Point, kind: Kind = "eps") -> Prediction:
        """The network's answer, as ``kind``."""
        x0 = self.x0(x, at)
        return Prediction(
            as_kind(kind, x0, (x - at.alpha * x0) / at.sigma, at), conversion(kind, at)
        )

    def exact(self, at: Point) -> Tensor:
        """The state of the exact flow at ``at``, (1, d)."""
        s2 = at.ratio**2
        spread = np.sqrt(VARIANCES + s2)
        low, high = (MEANS - 9 * spread).min(0), (MEANS + 9 * spread).max(0)
        target = ndtr(QUANTILES)
        y = (WEIGHTS * MEANS).sum(0) + QUANTILES * spread[0]
        for _ in range(80):
            z = (y - MEANS) / spread
            excess = (WEIGHTS * ndtr(z)).sum(0) - target
            low, high = np.where(excess < 0, y, low), np.where(excess > 0, y, high)
            slope = (WEIGHTS * np.exp(-0.5 * z**2) / spread).sum(0) / math.sqrt(2 * math.pi)
            new = y - excess / slope
            new = np.where((new > low) & (new < high), new, (low + high) / 2)
            if np.abs(new - y).max() < 1e-15:
                break
            y = new
        gauss = MEANS[0] + QUANTILES * spread[0]
        y[:GAUSSIANS] = gauss[:GAUSSIANS]
        return torch.from_numpy(at.alpha * y)[None]


def as_kind(kind: Kind, x0: Tensor, eps: Tensor, at: Point) -> Tensor:
    """What a network of this ``kind`` returns where it means ``x0`` and ``eps``."""
    if kind == "x0":
        return x0
    if kind == "eps":
        return eps
    if kind == "v":
        return at.alpha * eps - at.sigma * x0
    return eps - x0 if kind == "flow" else -eps / at.sigma


def marginal(at: Point) -> tuple[Tensor, Tensor]:
    """Mean and variance of the Gaussian coordinates at ``at``, each (GAUSSIANS,)."""
    mean, variance = (torch.from_numpy(a[0, :GAUSSIANS]) for a in (MEANS, VARIANCES))
    return at.alpha * mean, at.alpha**2 * variance + at.sigma**2
