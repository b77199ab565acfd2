"""Guidance by any loss: p(y | x) ∝ exp(−E(x, y))."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.words import counted
from diffdescent.core.process import Point

from .guide import gradient_of


@dataclass(frozen=True)
class Energy:
    """An energy as a :class:`~diffdescent.guidance.Guide`: the gradient is −∇_x E(x, point,
    labels).

    ``energy`` gives one number a sample, (B,), differentiable in x (B, C, H, W), each from its own
    image alone; labels are those of the run, or None. It sees x_t, or the estimate of x0 under
    ``Guided(…, on="x0")``. x is handed over in ``dtype`` (None: its own), and the gradient comes
    back in float32 or better. ``label_count`` is how many labels it knows; ``fingerprint``
    identifies it in a run's record.

    The squared distance to a colour, as DPS would have it: ``Energy(lambda x, at, y: (x.mean((2,
    3)) - red).square().sum(1))``. With ``measured`` (n, …), one entry for each sample of the run,
    it has a fourth argument, those of its own samples (a network sees a few of the run at a time,
    padded): ``Energy(lambda x, at, y, seen: (blur(x) - seen).square().flatten(1).sum(1),
    measured=photos)``.

    Raises:
        UserError: another shape, and an energy that x has no part in.
    """

    energy: Callable[..., Tensor]
    dtype: torch.dtype | None = None
    label_count: int | None = None
    fingerprint: str | None = None
    measured: Tensor | None = None

    def for_places(self, places: Sequence[int]) -> Energy:
        """The energy of the samples at these places of the run; see :class:`Guide`."""
        if self.measured is None:
            return self
        if max(places) >= len(self.measured):
            raise UserError(
                f"The energy has measurements of {counted(len(self.measured), 'sample')}, and the"
                " run has more; give one for each."
            )
        return replace(self, measured=self.measured[list(places)])

    def __call__(self, x: Tensor, point: Point, labels: Tensor | None) -> Tensor:
        seen: tuple[Tensor, ...] = ()
        if self.measured is not None:
            if len(self.measured) != len(x):
                raise UserError(
                    f"The energy has {counted(len(self.measured), 'measurement')} for"
                    f" {counted(len(x), 'image')}; give one for each sample of the run."
                )
            seen = (self.measured.to(x.device),)
        return -gradient_of(
            lambda leaf: self.energy(leaf, point, labels, *seen), x, self.dtype, "The energy"
        )
