"""Regularization by denoising as a variational method (Mardani et al. 2023, RED-diff)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from diffdescent.core.measurement import Measurement
from diffdescent.core.operators import Linear
from diffdescent.core.transforms.base import Estimate, Evaluation

BETAS = (0.9, 0.99)
"""Adam's decay rates, as released."""
_TINY = 1e-8


@dataclass(frozen=True)
class Variational(Estimate):
    """x̂0 ← μ, an image that descends on ½‖y − A μ‖² plus the prior's regularizer.

    Each evaluation is one step of Adam (Kingma and Ba 2015) along

        g = Aᵀ(A μ − y) + λ (μ − x̂0(x_t)),    x_t = α_t μ + σ_t z,

    which is the gradient of the paper's loss (eq. 8, algorithm 1) with its weight w_t = λ σ̃_t:
    there the regularizer is w_t(ε̂ − z)ᵀμ, and ε̂ − z = (μ − x̂0)/σ̃_t. Over ``ddim(fresh=1)`` the
    state is x_t = α_t μ + σ_t z with new z, as there. μ starts at
    (AᵀA + σ_n²)⁻¹Aᵀy, the posterior mean of a unit Gaussian, or, where A is not linear, at the
    first x̂0.
    """

    measurement: Measurement
    regularizer: float
    rate: float
    weight: float = 1.0
    name: ClassVar[str] = "variational"
    linear: ClassVar[bool] = False

    def correct(self, evaluation: Evaluation) -> Tensor:
        memory, x0 = evaluation.memory, evaluation.x0
        mu = memory.get("mu")
        mu = self._start(x0) if mu is None else mu
        gradient = self.measurement.operator.gradient(mu, self.measurement.y)
        gradient = gradient + self.regularizer * (mu - x0)
        memory["mu"] = mu = mu - self.rate * _adam(gradient, memory)
        return (mu - x0) * self.weight

    def _start(self, x0: Tensor) -> Tensor:
        known = self.measurement
        if not isinstance(known.operator, Linear):
            return x0
        return known.proximal(torch.zeros_like(x0), known.noise**2, "reddiff")


def _adam(gradient: Tensor, memory: dict[str, Tensor]) -> Tensor:
    """Adam's direction; its moments live in ``memory``."""
    zero = torch.zeros_like(gradient)
    count = memory.get("count", gradient.new_zeros(())) + 1
    first = memory.get("first", zero) * BETAS[0] + gradient * (1 - BETAS[0])
    second = memory.get("second", zero) * BETAS[1] + gradient.square() * (1 - BETAS[1])
    memory.update(count=count, first=first, second=second)
    size = (second / (1 - BETAS[1] ** count)).sqrt()
    return first / (1 - BETAS[0] ** count) / (size + _TINY)
