"""The proximal step of half-quadratic splitting on the estimate (Zhu et al. 2023, DiffPIR)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from diffdescent.core.measurement import Measurement
from diffdescent.core.process import Point
from diffdescent.core.transforms.base import Estimate, Evaluation


@dataclass(frozen=True)
class Penalty:
    """ρ_t = λ·σ_n²·(1/σ̃_t² + 1/s²), how strongly the data term is held to the denoiser's answer.

    1/ρ·σ_n² is the variance that is granted to x̂0: σ̃² (λ = 1, s = ∞; Zhu et al. 2023, after eq.
    12), or, with s the standard deviation of the data, σ̃²s²/(σ̃² + s²), that of a Gaussian
    prior's posterior, which makes the proximal step exact for it. 0 where σ_n = 0.
    """

    noise: float
    strength: float
    spread: float = math.inf

    def at(self, point: Point) -> float:
        """ρ at a noise level with σ > 0."""
        return self.strength * self.noise**2 * (point.ratio**-2 + self.spread**-2)


@dataclass(frozen=True)
class Proximal(Estimate):
    """x̂0 ← x̂0 + weight·(argmin_x ‖y − A x‖² + ρ_t‖x − x̂0‖² − x̂0) (Zhu et al. 2023, eq. 12a).

    ε follows (their eq. 14). Without measurement noise ρ = 0: the projection.
    """

    measurement: Measurement
    penalty: Penalty
    weight: float = 1.0
    name: ClassVar[str] = "proximal"
    linear: ClassVar[bool] = False

    def correct(self, evaluation: Evaluation) -> Tensor | None:
        if not evaluation.at.sigma:  # the state is x0 itself: there is no estimate to change
            return None
        x0, rho = evaluation.x0, self.penalty.at(evaluation.at)
        return (self.measurement.proximal(x0, rho, "diffpir") - x0) * self.weight
