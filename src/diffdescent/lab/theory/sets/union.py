"""Unions of sets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.models.exact import digest

from .base import Projection, Set, Smoothed, identity, smoothed


class Union:
    """The union of several sets: the nearest point of any. Its reach is bounded by that of its
    parts alone."""

    def __init__(self, parts: Sequence[Set]) -> None:
        if not parts or len({p.shape for p in parts}) > 1:
            raise UserError("A union needs at least one set, all in one space.")
        self.parts = tuple(parts)
        self.shape = parts[0].shape

    @property
    def dimension(self) -> float | None:
        known = [p.dimension for p in self.parts]
        return None if any(d is None for d in known) else max(d for d in known if d is not None)

    @property
    def reach(self) -> float:
        """NaN: parts that come near each other lower it, and how near they come is not computed."""
        return math.nan if len(self.parts) > 1 else self.parts[0].reach

    @property
    def diameter(self) -> float:
        """Infinite where a part's is; otherwise NaN, since it depends on where the parts lie."""
        if len(self.parts) == 1:
            return self.parts[0].diameter
        return math.inf if any(math.isinf(p.diameter) for p in self.parts) else math.nan

    def fingerprint(self) -> str:
        """The identity of all parts."""
        return digest((), *map(identity, self.parts))

    def project(self, x: Tensor) -> Projection:
        best = self.parts[0].project(x)
        for part in self.parts[1:]:
            other = part.project(x)
            closer = other.distance < best.distance
            rows = closer.view(-1, *[1] * len(self.shape))
            best = Projection(
                torch.where(closer, other.distance, best.distance),
                torch.where(rows, other.nearest, best.nearest),
            )
        return best

    def smoothed(self, x: Tensor, sigma: float) -> Smoothed:
        """−σ² log Σ exp(−f_i/σ²) of the parts' f_i, and the mean of their gradients by these
        weights."""
        found = [smoothed(part, x, sigma) for part in self.parts]
        logs = -torch.stack([f.value for f in found]) / sigma**2
        gradients = torch.stack([f.gradient.flatten(1) for f in found])
        mean = (logs.softmax(0)[:, :, None] * gradients).sum(0)
        return Smoothed(-(sigma**2) * logs.logsumexp(0), mean.reshape(x.shape))
