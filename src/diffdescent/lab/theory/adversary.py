"""The worst denoiser that the relative error model allows."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.model_info import ModelInfo
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import Point, Process

from .sets import Set


class Adversary:
    """A :class:`~diffdescent.core.predict.Predictor` with ε = (1 + η)∇f/σ̃ for a set: x̂0 = proj(x)
    − η(x − proj(x)).

    η > 0 overshoots at every step, η < 0 falls short of the set; both have the relative error |η|
    exactly. On a point DDIM's distances then are the bounds Π(1 − β(1 + η)) and Π(1 + β(|η| − 1))
    of theorem 4.1.

    Raises:
        UserError: an η that is not finite.
    """

    def __init__(self, k: Set, process: Process, eta: float) -> None:
        if not math.isfinite(eta):
            raise UserError(f"The adversary's relative error must be finite, not {eta}.")
        self.k, self.process, self.eta = k, process, eta
        self.shape: tuple[int, ...] | None = k.shape
        self.info = ModelInfo(name=f"adversary({eta:+g})")

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        if point.alpha == 0:
            raise UserError(
                "The adversary knows no distance at pure noise (α = 0); start the grid below it."
            )
        scaled = x.to(torch.float64) / point.alpha
        nearest = self.k.project(scaled).nearest
        return Prediction((nearest - self.eta * (scaled - nearest)).to(x), conversion("x0", point))
