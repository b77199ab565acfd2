"""Thresholding of the clean-image estimate, and a monitor that only looks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown

from .base import Evaluation

EpsRule = Literal["recompute", "keep"]


class _Thresholding(ABC):
    """What both thresholds share. ``eps``: whether the noise estimate follows the new x0.

    ``"recompute"`` takes ε = (x − α x̂0)/σ from the thresholded x̂0, so that history, gradient
    estimation and inner stages see it. ``"keep"`` leaves ε as the network gave it: a step x_s = α_s
    x̂0 + (what ε adds) changes by α_s(x̂0 − x0) alone (diffusers' DDIM without
    ``use_clipped_model_output``, Analytic-DPM's code).
    """

    eps: EpsRule
    linear: ClassVar[bool] = False

    def _check_eps(self) -> None:
        if self.eps not in ("recompute", "keep"):
            raise unknown("eps rule", self.eps, ("recompute", "keep"))

    @property
    def keeps_eps(self) -> bool:
        return self.eps == "keep"

    @abstractmethod
    def bound(self, x0: Tensor) -> Tensor:
        """The thresholded x0, same shape."""

    def correct(self, evaluation: Evaluation) -> Tensor:
        return self.bound(evaluation.x0).sub_(evaluation.x0)


@dataclass(frozen=True)
class Threshold(_Thresholding):
    """Static: x0 is clamped to [−value, value]. Where nothing is clamped the sampler beneath is
    unchanged to the bit.

    Raises :class:`UserError` unless value > 0.
    """

    value: float = 1.0
    eps: EpsRule = "recompute"
    name: ClassVar[str] = "threshold"

    def __post_init__(self) -> None:
        self._check_eps()
        if not self.value > 0:
            raise UserError(
                f"threshold's value must be positive, not {self.value}; images in [−1, 1] want 1."
            )

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


@dataclass(frozen=True)
class DynamicThreshold(_Thresholding):
    """Dynamic thresholding (Saharia et al. 2022, Imagen, section 2.3): with s = max(quantile(|x0|,
    percentile), 1) of each sample, at most ``maximum``, x0 ← clamp(x0, −s, s)/s.

    Where s = 1 and nothing is clamped the sampler beneath is unchanged to the bit. Raises
    :class:`UserError` unless 0 < percentile ≤ 1 and maximum ≥ 1.
    """

    percentile: float = 0.995
    eps: EpsRule = "recompute"
    maximum: float = math.inf
    name: ClassVar[str] = "dynamic_threshold"

    def __post_init__(self) -> None:
        self._check_eps()
        if not 0 < self.percentile <= 1:
            raise UserError(
                f"The percentile must lie in (0, 1], not {self.percentile}; Imagen's is 0.995."
            )
        if not self.maximum >= 1:
            raise UserError(
                f"The largest bound must be at least 1, not {self.maximum}; images lie in [−1, 1]."
            )

    def bound(self, x0: Tensor) -> Tensor:
        s = (
            quantile(x0.abs().flatten(1), self.percentile)
            .clamp(1.0, self.maximum)
            .view(-1, *[1] * (x0.ndim - 1))
        )
        return torch.minimum(torch.maximum(x0, -s), s).div_(s)


class Seen(NamedTuple):
    """One evaluation: its step, time and σ/α, and per sample (B,) the mean, extremes and root mean
    square of x0."""

    step: int
    t: float
    ratio: float
    mean: Tensor
    low: Tensor
    high: Tensor
    rms: Tensor
    x0: Tensor | None


@dataclass(eq=False)
class Monitor:
    """Records every evaluation (at its place in the chain of estimates) and changes nothing.

    The statistics stay on the device until somebody reads them: recording causes no
    synchronisation. ``images`` keeps x0 itself too.
    """

    images: bool = False
    seen: list[Seen] = field(default_factory=list)
    name: ClassVar[str] = "monitor"
    linear: ClassVar[bool] = True

    def correct(self, evaluation: Evaluation) -> None:
        flat = evaluation.x0.flatten(1)
        low, high = flat.aminmax(dim=1)
        rms = flat.square().mean(dim=1).sqrt_()
        kept = evaluation.x0.clone() if self.images else None
        at = evaluation.at
        self.seen.append(
            Seen(evaluation.step, at.t, at.ratio, flat.mean(dim=1), low, high, rms, kept)
        )
