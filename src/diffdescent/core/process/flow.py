"""Rectified flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.core.calls import check_fields

from .base import Array, ArrayLike, Point, Process


@dataclass(frozen=True)
class Flow(Process):
    """Rectified flow: α = 1 − t, σ = t. ``t`` runs from 0 (data) to 1 (pure noise).

    ``shift`` moves a grid's times, ``t ← s t / (1 + (s − 1) t)`` (Esser et al. 2024, eq. 23); it
    does not change the path, so it lives in :meth:`shifted`, which the grid builders use.
    """

    straight: ClassVar[bool] = True
    usual_grid: ClassVar[str | None] = "uniform(spacing=trailing)"
    shift: float = 1.0
    t_min: float = 1e-3
    t_max: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.shift > 0:
            raise UserError(
                f"Flow's shift must be positive, not {self.shift}; 1 leaves the times as they are."
            )

    def shifted(self, t: ArrayLike) -> Array:
        """s t / (1 + (s − 1) t)."""
        t = np.asarray(t, dtype=np.float64)
        return np.asarray(self.shift * t / (1 + (self.shift - 1) * t))

    def alpha_sigma(self, t: ArrayLike) -> tuple[Array, Array]:
        t = np.asarray(t, dtype=np.float64)
        return 1 - t, t.copy()

    def ratio_slope(self, t: ArrayLike) -> Array:
        with np.errstate(divide="ignore"):
            return np.asarray(1 / (1 - np.asarray(t, dtype=np.float64)) ** 2)

    def t_of_ratio(self, ratio: ArrayLike) -> Array:
        r = np.asarray(ratio, dtype=np.float64)
        finite = np.where(np.isinf(r), 0.0, r)
        return np.where(np.isinf(r), 1.0, finite / (1 + finite))

    def scaled(self, ratio: ArrayLike) -> tuple[Array, Array]:
        return self.alpha_sigma(self.t_of_ratio(ratio))

    def log_alpha_slope(self, at: Point) -> float:
        return -at.alpha  # α = 1/(1 + σ̃)

    def start_scale(self, at: Point) -> float:
        """σ: a flow starts from pure noise wherever its grid begins."""
        return at.sigma
