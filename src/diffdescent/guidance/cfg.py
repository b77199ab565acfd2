"""Classifier-free guidance (Ho and Salimans 2022): D̃ = D_c + w(D_c − D_u), w = scale − 1."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UserError
from ..predict import Prediction, Predictor, conversion
from ..process import Point
from .wrapper import Wrapper


@dataclass
class ClassifierFree(Wrapper):
    """``model`` with labels, pushed away from itself without (label −1), or from another ``unconditional`` model.

    ``scale`` 1 is the conditional model, 0 the unconditional one. ``clip`` clamps both estimates of x0 to
    [−clip, clip] before they are combined (the PixelAsParam code). ``together`` asks both questions in one batch; a
    convolution rounds differently at twice the width, so ``together=False`` is what makes scale 1 bit-identical to the
    conditional model. The direction w(D_c − D_u) stays apart as the prediction's part ``"direction"``.
    Raises :class:`UserError` without labels, and for a scale that is not finite.
    """

    scale: float = 1.5
    unconditional: Predictor | None = None
    clip: float | None = None
    together: bool = True

    def __post_init__(self) -> None:
        if not math.isfinite(self.scale):
            raise UserError(f"The guidance scale must be a finite number, not {self.scale}; 1 is no guidance.")
        if self.clip is not None and not self.clip > 0:
            raise UserError(f"clip must be positive, not {self.clip}; images in [−1, 1] want 1.")
        super().__post_init__()

    @property
    def label(self) -> str:
        return f"cfg(scale={self.scale:g})"

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        if cond is None:
            raise UserError("Classifier-free guidance needs to know the class; give labels, one for each sample.")
        with_label, without = self._both(x, point, cond)
        if self.clip is None and with_label.conversion == without.conversion:
            raw, other, how = with_label.raw, without.raw, with_label.conversion
        else:
            raw, other, how = self._x0(with_label, x), self._x0(without, x), conversion("x0", point)
        direction = (raw - other) * (self.scale - 1)
        return Prediction(raw + direction, how, with_label.variance, {"direction": direction})

    def _x0(self, prediction: Prediction, x: Tensor) -> Tensor:
        x0 = prediction.to("x0", x)
        return x0 if self.clip is None else x0.clamp(-self.clip, self.clip)

    def _both(self, x: Tensor, point: Point, cond: Tensor) -> tuple[Prediction, Prediction]:
        """The two predictions: with and without the label."""
        none = torch.full_like(cond, -1)
        if self.unconditional is not None:
            return self.model(x, point, cond), self.unconditional(x, point, None)
        if not self.together:
            return self.model(x, point, cond), self.model(x, point, none)
        both = self.model(torch.cat([x, x]), point, torch.cat([cond, none]))
        raw, other = both.raw.chunk(2)
        variance = None if both.variance is None else both.variance.chunk(2)[0]
        return Prediction(raw, both.conversion, variance), Prediction(other, both.conversion)
