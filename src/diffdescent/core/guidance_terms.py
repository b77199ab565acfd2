"""What guidance leaves with an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Shift = Literal["mean", "score"]
"""Where the gradient of log p(y | x) acts: on the mean of a stochastic step, weighted by its
variance, or on the score."""


@dataclass(frozen=True, slots=True)
class GuidanceTerms:
    """What a step must see apart from the model's own answer; each of the raw output's shape, or
    None. They are true where there is any.

    ``mean`` and ``score`` are gradients of log p(y | x) that the executor adds to the step: to its
    mean, s²·mean for a step of variance s², or to the score, ε −= σ·score. ``direction`` is what
    classifier-free guidance has already added to the raw output. ``x0`` is added to the estimate of
    x0 but not to that of ε (CFG++). ``state`` is added to each committed state as it is, whatever
    the step's length (DPS as released).
    """

    mean: Tensor | None = None
    score: Tensor | None = None
    direction: Tensor | None = None
    x0: Tensor | None = None
    state: Tensor | None = None

    def __bool__(self) -> bool:
        return any(term is not None for term in self._all())

    @classmethod
    def gradient(cls, shift: Shift, value: Tensor) -> GuidanceTerms:
        """A gradient that acts on the mean or on the score."""
        return cls(mean=value) if shift == "mean" else cls(score=value)

    @classmethod
    def cat(cls, batches: Sequence[GuidanceTerms]) -> GuidanceTerms:
        """The terms of consecutive micro-batches, which all have the same ones, as those of one
        batch."""
        columns = zip(*(batch._all() for batch in batches), strict=True)
        return cls(*(_cat(column) for column in columns))

    def map(self, f: Callable[[Tensor], Tensor]) -> GuidanceTerms:
        """``f`` of every term that there is."""
        return GuidanceTerms(*(None if term is None else f(term) for term in self._all()))

    def first(self, n: int) -> GuidanceTerms:
        """The terms of the first ``n`` samples."""
        return self.map(lambda term: term[:n])

    def __add__(self, other: GuidanceTerms) -> GuidanceTerms:
        """The terms of two guidances together."""
        pairs = zip(self._all(), other._all(), strict=True)
        return GuidanceTerms(*(b if a is None else a if b is None else a + b for a, b in pairs))

    def over(self, other: GuidanceTerms) -> GuidanceTerms:
        """These terms, and ``other``'s where there is none."""
        pairs = zip(self._all(), other._all(), strict=True)
        return GuidanceTerms(*(b if a is None else a for a, b in pairs))

    def _all(self) -> tuple[Tensor | None, ...]:
        return self.mean, self.score, self.direction, self.x0, self.state


UNGUIDED = GuidanceTerms()


def _cat(column: Sequence[Tensor | None]) -> Tensor | None:
    terms = [term for term in column if term is not None]
    return torch.cat(terms) if terms else None
