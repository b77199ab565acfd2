"""What was measured of the images of a run: the operator, y for each place, and the method that
makes a sampler answer for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.measurement import Measurement
from diffdescent.core.noise import MEASUREMENT, normals
from diffdescent.core.operators import Bound, Linear
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import Recipe
from diffdescent.guidance.restoration import Method, chained

from .inputs import Images
from .record import ImagesRecord, RestorationRecord

_OUTSIDE = 1e-3
"""A share of ‖y‖ that may lie outside the operator's range by rounding alone."""


@dataclass(frozen=True)
class Problem:
    """An inverse problem, and the ``method`` that answers it.

    ``operator`` is bound to the images' shape, in the dtype and on the device of the run; ``asked``
    and ``text`` are the operator's and the method's texts. ``y`` has a measurement for each place,
    ``noise`` is σ_n.
    """

    method: Method
    operator: Bound
    asked: str
    text: str
    y: Images
    noise: float

    def at(self, places: Sequence[int]) -> Measurement:
        """The measurement of a batch."""
        y = self.y.at(places, self.operator.device).to(self.operator.dtype)
        return Measurement(self.operator, y, self.noise, tuple(places))

    def answering(
        self, model: Predictor, recipe: Recipe, places: Sequence[int]
    ) -> tuple[Predictor, Recipe]:
        """Model and recipe of a batch, under the method."""
        model, found = self.method.apply(model, self.at(places))
        return model, chained(recipe, found)

    def record(self) -> RestorationRecord:
        """What a run's record says of it."""
        measured = ImagesRecord.of(self.y, "place")
        assert measured is not None
        return RestorationRecord(self.text, self.asked, self.noise, measured)


def measure(
    operator: Bound, clean: Tensor, noise: float, seed: int, numbers: Sequence[int]
) -> Tensor:
    """y = A(x) + σ_n n of clean images (k, C, H, W) with these ``numbers``, (k, *out_shape): the
    noise of an image is keyed by (seed, number)."""
    index = torch.tensor(list(numbers), dtype=torch.int64, device=operator.device)
    y = operator.forward(clean.to(operator.device, operator.dtype))
    if not noise:
        return y
    n = normals(seed, index, operator.out_shape, MEASUREMENT, 1, operator.dtype)
    return y + noise * n


def check_measured(operator: Bound, y: Tensor, noise: float) -> None:
    """Raise :class:`UserError` for a measurement of another shape, with NaN or Inf, or, where
    ``noise`` is 0, one that no image has."""
    operator.check(y)
    if noise or not isinstance(operator, Linear) or not (operator.has_pinv or operator.has_svd):
        return
    outside = (y - operator.forward(operator.pinv(y))).flatten(1).norm(dim=1)
    share = outside / y.flatten(1).norm(dim=1).clamp(min=1e-30)
    worst = int(share.argmax())
    if float(share[worst]) > _OUTSIDE:
        raise UserError(
            f"Measurement {worst} is inconsistent with noise=0: {float(share[worst]):.1%} of it"
            " lies where this operator measures nothing of any image; give noise above 0 (rounding"
            " to 8 bits is about 0.003), or for a mask 0 at the hidden pixels."
        )
