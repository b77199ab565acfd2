"""What a callback sees of a run while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from diffdescent.core.process import Point


@dataclass(frozen=True)
class Progress:
    """What a callback is given after each evaluation.

    ``x`` is the state that was evaluated (B, C, H, W), ``x0`` the model's clean estimate there (for
    previews), ``samples`` the indices of the batch; ``index`` of ``nfe`` evaluations, in batch
    ``batch`` of ``batches``.
    """

    index: int
    nfe: int
    step: int
    at: Point
    x: Tensor
    x0: Tensor
    samples: tuple[int, ...]
    batch: int
    batches: int

    @property
    def done(self) -> int:
        """How many evaluations are done, over all batches."""
        return self.batch * self.nfe + self.index + 1

    @property
    def total(self) -> int:
        """How many evaluations all batches take."""
        return self.batches * self.nfe


Callback = Callable[[Progress], None]
