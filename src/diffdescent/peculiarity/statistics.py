"""Shares with intervals, and the paired sign test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..errors import UserError

_Z95 = 1.959963984540054


@dataclass(frozen=True)
class Share:
    """``count`` of ``total`` with its 95 % interval [``low``, ``high``]."""

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """count / total."""
        return self.count / self.total

    def __str__(self) -> str:
        return f"{100 * self.value:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def wilson(count: int, total: int) -> Share:
    """A share with Wilson's score interval at 95 %, which stays inside [0, 1] and has a width also at 0 of n.

    Source: Wilson 1927.
    """
    if total < 1:
        raise UserError("A share of nothing was asked for; give at least one observation.")
    share, z2 = count / total, _Z95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    return Share(count, total, max(0.0, middle - half), min(1.0, middle + half))


def sign_test(up: int, down: int) -> float:
    """Two-sided exact p-value that ``up`` and ``down`` are tosses of a fair coin; ties are left out by the caller.

    p = min(1, 2·P(X ≥ max(up, down))), X ~ Binomial(up + down, ½). On the discordant pairs of two yes–no outcomes this
    is McNemar's exact test.
    """
    n, most = up + down, max(up, down)
    if n == 0:
        return 1.0
    k = np.arange(most, n + 1)
    logs = math.lgamma(n + 1) - n * math.log(2) - np.array([math.lgamma(i + 1) + math.lgamma(n - i + 1) for i in k])
    top = logs.max()
    return float(min(1.0, 2 * math.exp(top) * np.exp(logs - top).sum()))
