"""What a network says about ``x``: every parameterisation, converted to (x0, eps) here and nowhere
else.

A network's raw output ``u`` is linear in the clean image and the noise, so with ``x = α x0 + σ ε``
there are four float64 numbers for which ``x0 = p·x + q·u`` and ``ε = p'·x + q'·u``. A
:class:`Prediction` carries the raw tensor and these numbers; the executor folds them into a row of
coefficients, so no converted tensor is made unless one is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from diffdescent.base.errors import unknown

from .guidance_terms import UNGUIDED, GuidanceTerms
from .process import Point, Process

Basis = Literal["x0", "eps"]
BASES: tuple[Basis, ...] = ("x0", "eps")
Kind = Literal["eps", "x0", "v", "flow", "score"]
KINDS: tuple[Kind, ...] = ("eps", "x0", "v", "flow", "score")


class Affine(NamedTuple):
    """The map (x, u) ↦ ``x``·x + ``raw``·u."""

    x: float
    raw: float


class Conversion(NamedTuple):
    """How to read x0 and eps off (x, raw output) at one noise level."""

    x0: Affine
    eps: Affine

    def to(self, basis: Basis) -> Affine:
        """The map to ``basis``. Raises :class:`UserError` for one that does not exist."""
        if basis not in BASES:
            raise unknown("basis", basis, BASES)
        return self.x0 if basis == "x0" else self.eps


def conversion(kind: Kind, point: Point) -> Conversion:
    """The 2×2 conversion of a raw output at ``point``.

    ``eps``: u = ε. ``x0``: u = x0. ``v``: u = αε − σx0 (Salimans and Ho 2022, appendix D; exact
    where α² + σ² = 1, and divided by α² + σ² elsewhere). ``flow``: u = ε − x0 (the velocity dx/dt
    of rectified flow). ``score``: u = −ε/σ. A quantity that a parameterisation leaves undetermined
    at ``point`` (x0 from eps at α = 0, eps from x0 at σ = 0) has NaN coefficients: asking for it
    is an error when the prediction is used.
    """
    _, a, s = point
    nan = math.nan
    if kind == "eps":
        return Conversion(Affine(1 / a, -s / a) if a else Affine(nan, nan), Affine(0.0, 1.0))
    if kind == "x0":
        return Conversion(Affine(0.0, 1.0), Affine(1 / s, -a / s) if s else Affine(nan, nan))
    if kind == "v":
        n2 = a * a + s * s
        return Conversion(Affine(a / n2, -s / n2), Affine(s / n2, a / n2))
    if kind == "flow":
        total = a + s
        return Conversion(Affine(1 / total, -s / total), Affine(1 / total, a / total))
    if kind == "score":
        return Conversion(Affine(1 / a, s * s / a) if a else Affine(nan, nan), Affine(0.0, -s))
    raise unknown("prediction type", kind, KINDS)


@dataclass(frozen=True)
class Prediction:
    """One evaluation: the raw output (same shape as ``x``) and its conversion.

    ``variance`` is the second half of a learned-variance network's output, in [−1, 1] between log
    β̃ and log β (Nichol and Dhariwal 2021, eq. 15). ``guidance`` keeps what guidance leaves with
    the evaluation apart from it.
    """

    raw: Tensor
    conversion: Conversion
    variance: Tensor | None = None
    guidance: GuidanceTerms = UNGUIDED

    def to(self, basis: Basis, x: Tensor) -> Tensor:
        """x0 or eps as a tensor."""
        p, q = self.conversion.to(basis)
        value = self.raw * q + x * p if p else (self.raw if q == 1 else self.raw * q)
        aside = self.guidance.x0
        return value if aside is None or basis != "x0" else value + aside

    @classmethod
    def cat(cls, batches: Sequence[Prediction], n: int) -> Prediction:
        """The first ``n`` samples of evaluations of consecutive micro-batches at one level."""
        first = batches[0]
        variances = [p.variance for p in batches if p.variance is not None]
        return cls(
            torch.cat([p.raw for p in batches])[:n],
            first.conversion,
            torch.cat(variances)[:n] if variances else None,
            GuidanceTerms.cat([p.guidance for p in batches]).first(n),
        )


@runtime_checkable
class Predictor(Protocol):
    """Anything that can be sampled from.

    ``process`` is what it was trained on, ``shape`` the (C, H, W) of one sample or None when any
    will do. Calling it with ``x`` of shape (B, C, H, W), a noise level and labels of shape (B,) or
    None gives a :class:`Prediction`. What else it says of itself is read by
    :func:`diffdescent.core.model_info.info`.
    """

    process: Process
    shape: tuple[int, ...] | None

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction: ...
