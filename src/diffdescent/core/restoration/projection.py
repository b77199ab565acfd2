"""Range–null-space projection of the estimate (Wang et al. 2023, DDNM, eqs. 12 and 13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from diffdescent.core.measurement import Measurement
from diffdescent.core.transforms.base import Estimate, Evaluation


@dataclass(frozen=True)
class RangeNullSpace(Estimate):
    """x̂0 ← x̂0 + weight·(Π(x̂0) − x̂0), Π(x) = A⁺y + (I − A⁺A)x, the nearest point with A x = y.

    ε follows, so a deterministic step moves on the affine set of consistent images; ``weight`` 1
    is DDNM, 0 changes nothing.
    """

    measurement: Measurement
    weight: float = 1.0
    name: ClassVar[str] = "range_null_space"
    linear: ClassVar[bool] = False

    def correct(self, evaluation: Evaluation) -> Tensor:
        x0 = evaluation.x0
        return (self.measurement.operator.project(x0, self.measurement.y) - x0) * self.weight
