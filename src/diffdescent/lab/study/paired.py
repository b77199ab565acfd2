"""Values of a study that remember how they vary, so that their differences are paired."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffdescent.base.statistics import Estimate
from diffdescent.evaluate.half_sampling import half_width


@dataclass(frozen=True)
class PairedEstimate(Estimate):
    """A value with its 95 % interval, and ``draws``, which say for each seed how it varies with the
    images of that seed, (resamples,)."""

    draws: Mapping[int, Tensor] = field(default_factory=dict, compare=False, repr=False)

    def minus(self, other: PairedEstimate) -> PairedEstimate:
        """The difference, with the interval of a paired one: sample i of both has the same noise.

        Both vary over the same halves of the samples, so Var(a − b) is the variance of the
        difference of their draws, summed over the seeds, which are independent.
        """
        value = self.value - other.value
        if not (self.draws and other.draws):
            return PairedEstimate(value)
        nothing = torch.zeros(())
        draws = {
            seed: self.draws.get(seed, nothing) - other.draws.get(seed, nothing)
            for seed in {*self.draws, *other.draws}
        }
        half = math.hypot(*map(half_width, draws.values()))
        return PairedEstimate(value, value - half, value + half, draws)


def mean_over_seeds(found: Sequence[PairedEstimate]) -> PairedEstimate:
    """The mean of k independent estimates; its interval has the half-width √Σ(half width)²/k on
    each side."""
    if len(found) == 1:
        return found[0]
    k = len(found)
    value = sum(e.value for e in found) / k
    below = math.sqrt(sum((e.value - e.low) ** 2 for e in found)) / k
    above = math.sqrt(sum((e.high - e.value) ** 2 for e in found)) / k
    draws = {seed: one / k for e in found for seed, one in e.draws.items()}
    return PairedEstimate(value, value - below, value + above, draws)
