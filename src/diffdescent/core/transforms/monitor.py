"""A monitor of the evaluations, which only looks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from torch import Tensor

from .base import Estimate, Evaluation


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
class Monitor(Estimate):
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
