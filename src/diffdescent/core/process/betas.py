"""The named training schedules of β."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from diffdescent.base.errors import unknown

from .base import Array

Schedule = Literal["linear", "scaled_linear", "cosine", "sigmoid"]


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def make_betas(
    schedule: Schedule = "linear",
    steps: int = 1000,
    start: float | None = None,
    end: float | None = None,
) -> Array:
    """The β_t of a named training schedule, shape ``(steps,)``, float64.

    ``linear``: β from 1e-4 to 0.02 (DDPM; Ho et al. 2020, section 4). ``scaled_linear``: √β linear
    from √8.5e-4 to √0.012 (latent diffusion). ``cosine``: ᾱ(s) = cos²((s + 0.008)/1.008 · π/2), β
    capped at 0.999 (Nichol and Dhariwal 2021, eq. 17; it has no ``start`` and ``end``).
    ``sigmoid``: β = sigmoid of a line from −6 to 6, scaled to [1e-4, 0.02].

    Raises:
        UserError: an unknown schedule.
    """
    if schedule == "linear":
        return np.linspace(_or(start, 1e-4), _or(end, 0.02), steps, dtype=np.float64)
    if schedule == "scaled_linear":
        root = np.linspace(
            math.sqrt(_or(start, 0.00085)), math.sqrt(_or(end, 0.012)), steps, dtype=np.float64
        )
        return np.asarray(root**2)
    if schedule == "cosine":
        s = np.arange(steps + 1, dtype=np.float64) / steps
        bar = np.cos((s + 0.008) / 1.008 * math.pi / 2) ** 2
        return np.asarray(np.minimum(1 - bar[1:] / bar[:-1], 0.999))
    if schedule == "sigmoid":
        lo, hi = _or(start, 1e-4), _or(end, 0.02)
        return np.asarray(
            lo + (hi - lo) / (1 + np.exp(-np.linspace(-6, 6, steps, dtype=np.float64)))
        )
    raise unknown("noise schedule", schedule, ("linear", "scaled_linear", "cosine", "sigmoid"))
