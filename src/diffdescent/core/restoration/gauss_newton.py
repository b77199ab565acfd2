"""The proximal step for a measurement that is not linear, linearised at the estimate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from diffdescent.core.linear import inner
from diffdescent.core.measurement import Measurement
from diffdescent.core.operators.iterative import conjugate_gradients
from diffdescent.core.transforms.base import Estimate, Evaluation

from .proximal import Penalty

_STRIDE = 1e-3
"""Of the finite difference, as a share of the estimate's size."""


@dataclass(frozen=True)
class GaussNewton(Estimate):
    """x̂0 ← x̂0 + weight·d, (JᵀJ + ρ_t) d = Jᵀ(y − A(x̂0)), with J the Jacobian of A at x̂0.

    One Gauss–Newton step towards argmin_x ‖y − A(x)‖² + ρ_t‖x − x̂0‖² (Levenberg 1944), which is
    :class:`~.proximal.Proximal` where A is linear. ``steps`` of conjugate gradients solve for d;
    each takes J v as a finite difference and Jᵀ by automatic differentiation, so it is one pass
    through A and one back.
    """

    measurement: Measurement
    penalty: Penalty
    weight: float = 1.0
    steps: int = 5
    name: ClassVar[str] = "gauss_newton"
    linear: ClassVar[bool] = False

    def correct(self, evaluation: Evaluation) -> Tensor | None:
        if not evaluation.at.sigma or not self.weight:
            return None
        known, x0 = self.measurement, evaluation.x0.to(self.measurement.y.dtype)
        operator, rho = known.operator, self.penalty.at(evaluation.at)
        here = operator.forward(x0)

        def matrix(v: Tensor) -> Tensor:
            h = _STRIDE * (_size(x0) + 1e-6) / (_size(v) + 1e-30)
            along = _over(operator.forward(x0 + h * v) - here, h)
            return operator.pullback(x0, along) + rho * v

        rhs = operator.pullback(x0, known.y - here)
        with torch.no_grad():
            return (conjugate_gradients(matrix, rhs, self.steps) * self.weight).to(evaluation.x0)


def _size(x: Tensor) -> Tensor:
    """‖x‖ of each sample, (B, 1, …)."""
    return inner(x, x).sqrt()


def _over(y: Tensor, h: Tensor) -> Tensor:
    """y/h, sample by sample, for y of any shape (B, …)."""
    return y / h.reshape(-1, *(1,) * (y.ndim - 1))
