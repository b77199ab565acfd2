"""Guidance by any loss: p(y | x) ∝ exp(−E(x, y))."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

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
    identifies it in a run's record. Raises :class:`UserError` for another shape, and for an energy
    that x has no part in.

    The squared distance to a colour, as DPS would have it: ``Energy(lambda x, at, y: (x.mean((2,
    3)) - red).square().sum(1))``.
    """

    energy: Callable[[Tensor, Point, Tensor | None], Tensor]
    dtype: torch.dtype | None = None
    label_count: int | None = None
    fingerprint: str | None = None

    def __call__(self, x: Tensor, point: Point, labels: Tensor | None) -> Tensor:
        return -gradient_of(
            lambda leaf: self.energy(leaf, point, labels), x, self.dtype, "The energy"
        )
