"""Rescaling of classifier-free guidance to the spread of the estimate with the label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from diffdescent.core.linear import sum_of
from diffdescent.core.options import In

from .base import Estimate, Evaluation, register
from .direction import direction_of

Output = Literal["v", "x0", "eps"]


@register("rescale")
@dataclass(frozen=True)
class Rescale(Estimate):
    """CFG rescale (Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed",
    section 3.4): the guided output gets the standard deviation of the conditional one,

        ũ ← φ·ũ·std(u_c)/std(ũ) + (1 − φ)·ũ,

    over each sample. ``of`` is the output u: ``"v"`` = αε − σx0 (the paper's networks), ``"x0"`` or
    ``"eps"``. φ = 0 changes nothing; the paper's choice is .7.

    Args:
        phi: φ in [0, 1].
        of: the output whose deviation is matched.

    Raises:
        UserError: φ outside [0, 1], an unknown output, and a model without classifier-free
            guidance.
    """

    phi: Annotated[float, In(0, 1, hint="0 changes nothing, the paper has 0.7")] = 0.7
    of: Output = "v"
    linear: ClassVar[bool] = False
    of_direction: ClassVar[bool] = True
    neutral: ClassVar = {"phi": 0.0}

    def correct(self, evaluation: Evaluation) -> Tensor | None:
        direction = direction_of(evaluation, self.name)
        on_x, on_x0 = self._output(evaluation)
        if not on_x0:
            return None
        guided = evaluation.x0 * on_x0 + evaluation.x * on_x
        with_label = guided - direction * on_x0
        spread = _deviation(guided)
        ratio = torch.where(spread > 0, _deviation(with_label) / spread, 1.0)
        return guided * ((ratio - 1) * (self.phi / on_x0))

    def _output(self, evaluation: Evaluation) -> tuple[float, float]:
        """u = a·x + b·x0: (a, b), and b = 0 where u says nothing of x0."""
        _, alpha, sigma = evaluation.at
        if self.of == "x0":
            return 0.0, 1.0
        if not sigma:
            return 0.0, 0.0
        # v = αε − σ x0 with ε = (x − α x0)/σ.
        return (
            (1 / sigma, -alpha / sigma)
            if self.of == "eps"
            else (alpha / sigma, -(alpha**2 + sigma**2) / sigma)
        )


def _deviation(x: Tensor) -> Tensor:
    centered = x - sum_of(x) / x[0].numel()
    return sum_of(centered.square()).div_(x[0].numel()).sqrt_()
