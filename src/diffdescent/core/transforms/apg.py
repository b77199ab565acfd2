"""Adaptive projected guidance (APG)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from diffdescent.core.linear import sum_of
from diffdescent.core.options import finite, positive

from .base import Estimate, Evaluation, register
from .direction import direction_of

Scale = Annotated[float, finite("1 is no guidance")]
Eta = Annotated[float, finite("1 changes nothing, the paper has 0")]
Norm = Annotated[float, positive("inf changes nothing")]
Momentum = Annotated[float, finite("0 changes nothing, the paper's is negative")]


@register("apg")
@dataclass(frozen=True)
class APG(Estimate):
    """Adaptive projected guidance (Sadat et al. 2024, algorithm 1), with Δ0 = D_c − D_∅ and w =
    scale − 1:

        m   ← Δ0 + β m,  m = 0 before the first evaluation
        u   = m·min(1, r/‖m‖)
        u_∥ = ⟨u, D_c⟩/‖D_c‖²·D_c
        D̃   = D_c + w(u − (1 − η) u_∥)

    ``scale`` is that of the classifier-free guidance beneath, so that r counts in units of D_c −
    D_∅ as in the paper. ``momentum`` is β, negative in the paper's settings; ``norm`` is r, which
    grows with the square root of the number of pixels; ``eta`` is η. At β = 0, r = ∞ and η = 1
    nothing changes. A sample whose Δ0 is exactly zero (outside a guidance interval, or with the
    label −1) gets nothing from m either. m lives as long as one run, and is each sample's own.

    Raises:
        UserError: options that are not finite (or r not positive), and a model without
            classifier-free guidance.
    """

    scale: Scale = 4.0
    eta: Eta = 0.0
    norm: Norm = math.inf
    momentum: Momentum = -0.5
    linear: ClassVar[bool] = False
    of_direction: ClassVar[bool] = True
    neutral: ClassVar = {"eta": 1.0, "norm": math.inf, "momentum": 0.0}

    def correct(self, evaluation: Evaluation) -> Tensor:
        given = direction_of(evaluation, self.name)
        with_label = evaluation.x0 - given
        last = evaluation.memory.get("average")
        average = given if last is None else given.add(last, alpha=self.momentum)
        evaluation.memory["average"] = average
        length = sum_of(average.square()).sqrt_()
        limit = self.norm * abs(self.scale - 1)
        used = average * torch.where(length > limit, limit / length, 1.0)
        on = sum_of(with_label.square())
        share = torch.where(on > 0, sum_of(used * with_label) / on, 0.0)
        used = used - with_label * (share * (1 - self.eta))
        guided = sum_of(given.square()) > 0
        return torch.where(guided, used - given, 0.0)
