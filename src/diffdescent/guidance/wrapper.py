"""What all guided predictors share: they stand for a model, and guide it at some noise levels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.guidance_terms import UNGUIDED, GuidanceTerms
from diffdescent.core.model_info import ModelInfo, described, info
from diffdescent.core.predict import Prediction, Predictor
from diffdescent.core.process import Point, Process


@dataclass(repr=False)
class Wrapper(ABC):
    """A predictor around ``model``, which keeps its process, its shape and what it says of itself.

    ``interval`` = (lo, hi) guides at the noise levels lo ≤ σ/α ≤ hi alone (Kynkäänniemi et al.
    2024, for classifier-free guidance); elsewhere the model answers by itself, at its own cost.

    Raises :class:`UserError` for an interval that is not 0 ≤ lo ≤ hi.
    """

    model: Predictor
    interval: tuple[float, float] | None = field(default=None, kw_only=True)
    process: Process = field(init=False, repr=False)
    shape: tuple[int, ...] | None = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.interval is not None and not (
            len(self.interval) == 2 and 0 <= self.interval[0] <= self.interval[1]
        ):
            raise UserError(
                "The guidance interval is two noise levels 0 ≤ lo ≤ hi of σ/α, not"
                f" {self.interval}; write for example (0.3, 2)."
            )
        self.process, self.shape = self.model.process, self.model.shape

    def __repr__(self) -> str:
        return described(self)

    @property
    def info(self) -> ModelInfo:
        """The model's, under the name of the guided one, with the cost of a guided answer and the
        fingerprints of everything that guides."""
        inside = info(self.model)
        within = (
            ""
            if self.interval is None
            else f", σ/α in [{self.interval[0]:g}, {self.interval[1]:g}]"
        )
        return replace(
            inside,
            name=f"{inside.name} | {self.label}{within}",
            calls=self.calls,
            cost=self.calls_at,
            identity=self._identity,
        )

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        if self.active(point):
            return self.guided(x, point, cond)
        prediction = self.unguided(x, point, cond)
        # Zeros without memory: what is done with the terms need not know of levels without
        # guidance.
        zeros = self.terms(prediction.raw.new_zeros(()).expand_as(prediction.raw))
        return replace(prediction, guidance=prediction.guidance.over(zeros))

    def for_places(self, places: Sequence[int]) -> Wrapper:
        """The guided model of the samples at these places of a run: itself, unless it or what it
        wraps knows something of each."""
        if not isinstance(self.model, Wrapper):
            return self
        inside = self.model.for_places(places)
        return self if inside is self.model else replace(self, model=inside)

    def active(self, point: Point) -> bool:
        """Whether ``point`` lies in the interval."""
        return self.interval is None or self.interval[0] <= point.ratio <= self.interval[1]

    @property
    @abstractmethod
    def label(self) -> str:
        """The guidance, as a run's record names it."""

    @abstractmethod
    def terms(self, value: Tensor) -> GuidanceTerms:
        """``value`` as what this guidance leaves with an evaluation."""

    @abstractmethod
    def guided(self, x: Tensor, point: Point, cond: Tensor | None) -> Prediction:
        """The prediction under guidance."""

    def unguided(self, x: Tensor, point: Point, cond: Tensor | None) -> Prediction:
        """The prediction outside the interval: the model's own, with its labels."""
        return self.model(x, point, cond)

    @property
    def calls(self) -> int:
        """Evaluations of networks for one guided answer."""
        return info(self.model).calls

    def calls_at(self, point: Point) -> int:
        """Evaluations of networks for the answer at ``point``."""
        inside = info(self.model)
        here = inside.calls_at(point)
        return here + self.calls - inside.calls if self.active(point) else here

    def _identity(self) -> str | None:
        """The fingerprints of the model and of everything that guides it; None where the model
        knows none."""
        known = [info(source).fingerprint for source in (self.model, *self.sources)]
        return None if known[0] is None else "+".join(k for k in known if k is not None)

    @property
    def sources(self) -> tuple[object, ...]:
        """What guides the model, where that is a thing of its own."""
        return ()


def terms_of(model: Predictor) -> GuidanceTerms:
    """Zeros as the terms that a model leaves with its evaluations; none for one without
    guidance."""
    found = UNGUIDED
    while isinstance(model, Wrapper):
        found = model.terms(torch.zeros(())) + found
        model = model.model
    return found
