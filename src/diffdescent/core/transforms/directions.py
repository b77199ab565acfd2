"""What else is done with the direction of classifier-free guidance: adaptive projection, and
rescaling.

Both are estimate transforms over :class:`ClassifierFree`: they see D̃ = D_c + Δ with Δ = w(D_c −
D_∅) as x0 and ``direction``, come before thresholds, and what they change is the direction's
(``of_direction``), so that PxP after them takes the new one apart. CFG++ and guidance intervals are
in cfg.py and wrapper.py: they change what is evaluated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown

from .base import Evaluation
from .projection import sum_from

Output = Literal["v", "x0", "eps"]


def check_scale(scale: float, neutral: str) -> None:
    """Refuse a scale that is not finite; ``neutral`` says which one does nothing."""
    if not math.isfinite(scale):
        raise UserError(f"The guidance scale must be a finite number, not {scale}; {neutral}.")


def sum_of(x: Tensor) -> Tensor:
    """The sum over each sample, (B, 1, …)."""
    return sum_from(x, 1)


def _direction(evaluation: Evaluation, name: str) -> Tensor:
    if evaluation.direction is None:
        raise UserError(
            f"{name} needs classifier-free guidance, and this model has none; use"
            " ClassifierFree(…)."
        )
    return evaluation.direction


@dataclass(frozen=True)
class APG:
    """Adaptive projected guidance (Sadat et al. 2024, algorithm 1), with Δ0 = D_c − D_∅ and w =
    scale − 1:

        m ← Δ0 + β m (m = 0 before the first evaluation),   u = m·min(1, r/‖m‖),   u_∥ = ⟨u,
        D_c⟩/‖D_c‖²·D_c, D̃ = D_c + w(u − (1 − η) u_∥).

    ``scale`` is that of the :class:`ClassifierFree` beneath, by which r is told in units of D_c −
    D_∅ as in the paper. ``momentum`` is β, negative in the paper's settings; ``norm`` is r, which
    grows with the square root of the number of pixels; ``eta`` is η. At β = 0, r = ∞ and η = 1
    nothing changes. A sample whose Δ0 is exactly zero (outside a guidance interval, or with the
    label −1) gets nothing from m either. m lives as long as one run, and is each sample's own.

    Raises :class:`UserError` for options that are not finite (or r not positive), and for a model
    without classifier-free guidance.
    """

    scale: float
    eta: float = 0.0
    norm: float = math.inf
    momentum: float = -0.5
    name: ClassVar[str] = "apg"
    linear: ClassVar[bool] = False
    of_direction: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_scale(self.scale, "1 is no guidance")
        if not (math.isfinite(self.eta) and math.isfinite(self.momentum) and self.norm > 0):
            raise UserError(
                f"apg's eta and momentum must be finite and its norm positive, not eta={self.eta},"
                f" momentum={self.momentum}, norm={self.norm}; eta=1, momentum=0, norm=inf change"
                " nothing."
            )

    def correct(self, evaluation: Evaluation) -> Tensor:
        given = _direction(evaluation, self.name)
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


@dataclass(frozen=True)
class Rescale:
    """CFG rescale (Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed",
    section 3.4): the guided output gets the standard deviation of the conditional one,

        ũ ← φ·ũ·std(u_c)/std(ũ) + (1 − φ)·ũ,

    over each sample. ``of`` is the output u: ``"v"`` = αε − σx0 (the paper's networks), ``"x0"`` or
    ``"eps"``. φ = 0 changes nothing; the paper's choice is .7. Raises :class:`UserError` for φ
    outside [0, 1], an unknown output, and a model without classifier-free guidance.
    """

    phi: float = 0.7
    of: Output = "v"
    name: ClassVar[str] = "rescale"
    linear: ClassVar[bool] = False
    of_direction: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.phi <= 1:
            raise UserError(
                f"rescale's phi must lie in [0, 1], not {self.phi}; 0 changes nothing, the paper"
                " has 0.7."
            )
        if self.of not in get_args(Output):
            raise unknown("output to rescale", self.of, get_args(Output))

    def correct(self, evaluation: Evaluation) -> Tensor | None:
        direction = _direction(evaluation, self.name)
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
