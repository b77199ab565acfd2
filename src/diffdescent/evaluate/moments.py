"""Mean and covariance of features, as a stream: memory depends on the number of features, not on
that of the images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffdescent.base.errors import UserError


@dataclass(frozen=True)
class Moments:
    """``mu`` (d,) and ``sigma`` (d, d), float64, of ``n`` feature vectors; n is None where a file
    does not say.

    ``sigma`` is the unbiased covariance (division by n − 1), as in pytorch-fid and ADM.
    """

    mu: Tensor
    sigma: Tensor
    n: int | None

    @property
    def dimension(self) -> int:
        return len(self.mu)


class RunningMoments:
    """Moments of batches that come one after another, and of shards that were counted apart.

    Kept are n, the mean m and the scatter S = Σ (x − m)(x − m)ᵀ in float64. Two sets are merged by
    Chan, Golub and LeVeque (1979): with δ = m_b − m_a,

        m = m_a + δ·n_b/n,   S = S_a + S_b + δδᵀ·n_a·n_b/n,

    which is exact, and stays accurate where Σxxᵀ − n·mmᵀ would cancel. Another order gives the same
    up to rounding.
    """

    def __init__(self, dimension: int) -> None:
        self.n = 0
        self.mean = torch.zeros(dimension, dtype=torch.float64)
        self.scatter = torch.zeros(dimension, dimension, dtype=torch.float64)

    def update(self, batch: Tensor) -> None:
        """Add ``batch`` (n, d)."""
        x = batch.to("cpu", torch.float64)
        mean = x.mean(0)
        centred = x - mean
        self._add(len(x), mean, centred.T @ centred)

    def merge(self, other: RunningMoments) -> None:
        """Add everything that ``other`` has seen."""
        self._add(other.n, other.mean, other.scatter)

    def _add(self, n: int, mean: Tensor, scatter: Tensor) -> None:
        total = self.n + n
        if not n:
            return
        delta = mean - self.mean
        self.scatter += scatter
        self.scatter += torch.outer(delta, delta) * (self.n * n / total)
        self.mean = self.mean + delta * (n / total)
        self.n = total

    def result(self) -> Moments:
        """The moments so far.

        Raises:
            UserError: fewer than two vectors, which have no covariance.
        """
        if self.n < 2:
            raise UserError(
                f"The covariance of {self.n} feature vector(s) does not exist; give at least two"
                " images."
            )
        return Moments(self.mean, self.scatter / (self.n - 1), self.n)


def moments_of(features: Tensor, rows: int = 4096) -> Moments:
    """Moments of ``features`` (n, d), ``rows`` of them in double precision at a time.

    Args:
        features: (n, d).
        rows: how many at a time.

    Returns:
        Mean (d,) and covariance (d, d) in float64, and n.
    """
    running = RunningMoments(features.shape[1])
    for batch in torch.split(features, rows):
        running.update(batch)
    return running.result()
