"""The variance-exploding process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from diffdescent.core.calls import check_fields

from .base import Array, ArrayLike, Point, Process


@dataclass(frozen=True)
class VE(Process):
    """Variance exploding: α = 1, σ = t. The time is the noise level itself (EDM, NCSN)."""

    bounded: ClassVar[bool] = False
    usual_grid: ClassVar[str | None] = "karras"
    t_min: float = 0.002
    t_max: float = 80.0

    def __post_init__(self) -> None:
        check_fields(self)

    def alpha_sigma(self, t: ArrayLike) -> tuple[Array, Array]:
        t = np.asarray(t, dtype=np.float64)
        return np.ones_like(t), t.copy()

    def ratio_slope(self, t: ArrayLike) -> Array:
        return np.asarray(np.ones_like(np.asarray(t, dtype=np.float64)))

    def t_of_ratio(self, ratio: ArrayLike) -> Array:
        return np.array(ratio, dtype=np.float64)

    def scaled(self, ratio: ArrayLike) -> tuple[Array, Array]:
        r = np.asarray(ratio, dtype=np.float64)
        return np.ones_like(r), r.copy()

    def log_alpha_slope(self, at: Point) -> float:
        return 0.0
