"""A process that the library does not know, for the suites to run over."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffdescent.core.process import Array, ArrayLike, Point, Process


@dataclass(frozen=True)
class SubVP(Process):
    """Sub-VP (Song et al. 2021, eq. 29): α = e^{−B/2}, σ = 1 − e^{−B} with B = ∫β dt, so that
    α² + σ² < 1. β is linear in time. σ̃ = 2 sinh(B/2)."""

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-3
    t_max: float = 1.0

    def _integral(self, t: ArrayLike) -> tuple[Array, Array]:
        """B and dB/dt."""
        t, width = np.asarray(t, dtype=np.float64), self.beta_max - self.beta_min
        return t * self.beta_min + t**2 * width / 2, self.beta_min + t * width

    def alpha_sigma(self, t: ArrayLike) -> tuple[Array, Array]:
        b, _ = self._integral(t)
        return np.exp(-b / 2), -np.expm1(-b)

    def ratio_slope(self, t: ArrayLike) -> Array:
        b, rate = self._integral(t)
        return np.asarray(np.cosh(b / 2) * rate)

    def t_of_ratio(self, ratio: ArrayLike) -> Array:
        b = 2 * np.arcsinh(np.asarray(ratio, dtype=np.float64) / 2)
        width = self.beta_max - self.beta_min
        t = 2 * b / (self.beta_min + np.sqrt(self.beta_min**2 + 2 * width * b))
        return np.asarray(np.minimum(t, self.t_max))

    def log_alpha_slope(self, at: Point) -> float:
        return float(-1 / np.sqrt(4 + at.ratio**2))

    def scaled(self, ratio: ArrayLike) -> tuple[Array, Array]:
        half = np.arcsinh(np.asarray(ratio, dtype=np.float64) / 2)
        return np.exp(-half), -np.expm1(-2 * half)
