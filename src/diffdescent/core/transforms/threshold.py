"""Thresholding of the clean-image estimate, static and dynamic."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from diffdescent.core.options import In, positive

from .base import Estimate, Evaluation, register

EpsRule = Literal["recompute", "keep"]


class _Thresholding(Estimate):
    """What both thresholds share. ``eps``: whether the noise estimate follows the new x0.

    ``"recompute"`` takes ε = (x − α x̂0)/σ from the thresholded x̂0, so that history, gradient
    estimation and inner stages see it. ``"keep"`` leaves ε as the network gave it: a step x_s = α_s
    x̂0 + (what ε adds) changes by α_s(x̂0 − x0) alone (diffusers' DDIM without
    ``use_clipped_model_output``, Analytic-DPM's code).
    """

    eps: EpsRule
    linear: ClassVar[bool] = False

    @property
    def keeps_eps(self) -> bool:
        return self.eps == "keep"

    @abstractmethod
    def bound(self, x0: Tensor) -> Tensor:
        """The thresholded x0, same shape."""

    def correct(self, evaluation: Evaluation) -> Tensor:
        return self.bound(evaluation.x0).sub_(evaluation.x0)


@register("threshold")
@dataclass(frozen=True)
class Threshold(_Thresholding):
    """Static: x0 is clamped to [−value, value]. Where nothing is clamped the sampler beneath is
    unchanged to the bit.

    Raises:
        UserError: unless value > 0.
    """

    value: Annotated[float, positive("images in [−1, 1] want 1")] = 1.0
    eps: EpsRule = "recompute"
    neutral: ClassVar = {"value": math.inf}

    def bound(self, x0: Tensor) -> Tensor:
        return x0.clamp(-self.value, self.value)


def quantile(values: Tensor, p: float) -> Tensor:
    """The p-quantile of each row of ``values`` (B, n), linearly interpolated, (B, 1).

    As ``torch.quantile``, which refuses more than 16 million numbers; only the largest ones are
    looked at.
    """
    place = p * (values.shape[1] - 1)
    low = math.floor(place)
    top = values.topk(values.shape[1] - low, dim=1).values
    lower, upper = top[:, -1:], top[:, -2:-1] if top.shape[1] > 1 else top[:, -1:]
    return torch.lerp(lower, upper, place - low)


@register("dynamic_threshold")
@dataclass(frozen=True)
class DynamicThreshold(_Thresholding):
    """Dynamic thresholding (Saharia et al. 2022, Imagen, section 2.3): with s = max(quantile(|x0|,
    percentile), 1) of each sample, at most ``maximum``, x0 ← clamp(x0, −s, s)/s.

    Where s = 1 and nothing is clamped the sampler beneath is unchanged to the bit.

    Raises:
        UserError: unless 0 < percentile ≤ 1 and maximum ≥ 1.
    """

    percentile: Annotated[float, In(0, 1, "(]", "Imagen's is 0.995")] = 0.995
    eps: EpsRule = "recompute"
    maximum: Annotated[float, In(1, hint="images lie in [−1, 1]")] = math.inf
    neutral: ClassVar = None

    def bound(self, x0: Tensor) -> Tensor:
        s = (
            quantile(x0.abs().flatten(1), self.percentile)
            .clamp(1.0, self.maximum)
            .view(-1, *[1] * (x0.ndim - 1))
        )
        return torch.minimum(torch.maximum(x0, -s), s).div_(s)
