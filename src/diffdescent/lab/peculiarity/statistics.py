"""Shares and differences with intervals, and the paired sign test."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from diffdescent.base import statistics as stats
from diffdescent.base.errors import UserError
from diffdescent.base.statistics import Z95


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
    """A share with Wilson's score interval at 95 %, which stays inside [0, 1] and has a width also
    at 0 of n.

    Source: Wilson 1927.
    """
    if total < 1:
        raise UserError("A share of nothing was asked for; give at least one observation.")
    return Share(count, total, *stats.wilson(count / total, total))


@dataclass(frozen=True)
class Difference:
    """A difference with its 95 % interval [``low``, ``high``]; printed in points, hundredths."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:+.1f} points [{100 * self.low:+.1f}, {100 * self.high:+.1f}]"


@dataclass(frozen=True)
class Mean:
    """A mean, or a difference of two, with its 95 % interval [``low``, ``high``]."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {(self.high - self.low) / 2:.3f}"


def mean_of(values: npt.NDArray[np.float64]) -> Mean:
    """Mean ± 1.96 standard errors; with one value alone the interval is unbounded."""
    value, half = float(values.mean()), Z95 * _standard_error(values)
    return Mean(value, value - half, value + half)


def mean_difference(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> Mean:
    """Mean of a − mean of b, independent: ± 1.96·√(s_a²/n_a + s_b²/n_b)."""
    value, half = (
        float(a.mean() - b.mean()),
        Z95 * math.hypot(_standard_error(a), _standard_error(b)),
    )
    return Mean(value, value - half, value + half)


def _standard_error(values: npt.NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf


def paired_difference(here: int, there: int, n: int) -> Difference:
    """Difference of two shares of the same ``n``, of which ``here`` count in the first alone,
    ``there`` in the second.

    Value (here − there)/n. Interval: d ± z·√((a + b − d²)/(n + 2)) with a = (here + 1)/(n + 2), b =
    (there + 1)/(n + 2) and d = a − b, which has a width also where nothing differs.

    Source: Bonett and Price 2012, Journal of Educational and Behavioral Statistics 37, 479–488.
    """
    if n < 1 or here + there > n:
        raise UserError(
            f"{here} + {there} of {n} samples cannot differ; give at least one, and no more than"
            " there are."
        )
    a, b = (here + 1) / (n + 2), (there + 1) / (n + 2)
    half = Z95 * math.sqrt((a + b - (a - b) ** 2) / (n + 2))
    return Difference((here - there) / n, max(-1.0, a - b - half), min(1.0, a - b + half))


def share_difference(a: Share, b: Share) -> Difference:
    """Difference a − b of two independent shares; interval from their Wilson intervals.

    Source: Newcombe 1998, Statistics in Medicine 17, 873–890, method 10.
    """
    gap = a.value - b.value
    return Difference(
        gap,
        gap - math.hypot(a.value - a.low, b.high - b.value),
        gap + math.hypot(a.high - a.value, b.value - b.low),
    )


def sign_test(up: int, down: int) -> float:
    """Two-sided exact p-value that ``up`` and ``down`` are tosses of a fair coin; ties are left out
    by the caller.

    p = min(1, 2·P(X ≥ max(up, down))), X ~ Binomial(up + down, ½). On the discordant pairs of two
    yes–no outcomes this is McNemar's exact test.
    """
    n, most = up + down, max(up, down)
    if n == 0:
        return 1.0
    k = np.arange(most, n + 1)
    logs = (
        math.lgamma(n + 1)
        - n * math.log(2)
        - np.array([math.lgamma(i + 1) + math.lgamma(n - i + 1) for i in k])
    )
    top = logs.max()
    return float(min(1.0, 2 * math.exp(top) * np.exp(logs - top).sum()))
