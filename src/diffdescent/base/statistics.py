"""Values with their intervals, and the tests and adjustments that are made with them.

Every interval of the program is an :class:`Estimate`. SciPy is imported where a test needs it, by
those who have it: this module needs NumPy alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import UserError

Array = npt.NDArray[np.float64]

Z95 = 1.959963984540054
"""The normal quantile of 0.975: 95 % of a normal lie within ±Z95 standard deviations."""


@dataclass(frozen=True)
class Estimate:
    """A ``value`` with its interval [``low``, ``high``] at ``level``, both NaN where there is none.

    ``n`` says from how many observations it is, None where that is not known or has no meaning. As
    text it shows four digits: ``0.1923 [0.1833, 0.2014]``, or ``–`` without a finite value.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    level: float = field(default=0.95, kw_only=True)
    n: int | None = field(default=None, kw_only=True)

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    @property
    def half_width(self) -> float:
        """Half the length of the interval, NaN where there is none."""
        return (self.high - self.low) / 2

    def contains(self, value: float) -> bool:
        """Whether the interval holds ``value``; False where there is no interval."""
        return self.low <= value <= self.high

    def overlaps(self, other: Estimate) -> bool:
        """Whether the two intervals have a point in common; False where one has none."""
        return self.low <= other.high and other.low <= self.high

    def clipped(self, low: float, high: float) -> Estimate:
        """The same value with its interval cut to [``low``, ``high``], all of which it is where no
        interval is known."""
        return replace(self, low=max(low, self.low), high=min(high, self.high))

    def bare(self) -> str:
        """The value alone, as text."""
        if not math.isfinite(self.value):
            return "–"
        return f"{self.value:.{_decimals(self.value)}f}"

    def __str__(self) -> str:
        if not (self.known and math.isfinite(self.value)):
            return self.bare()
        digits = _decimals(self.value)
        return f"{self.bare()} [{self.low:.{digits}f}, {self.high:.{digits}f}]"

    def to_json(self) -> dict[str, float | int | None]:
        """Plain data, with None for what is not a finite number, so that it is JSON."""
        numbers = {"value": self.value, "low": self.low, "high": self.high, "level": self.level}
        found: dict[str, float | int | None] = {
            name: x if math.isfinite(x) else None for name, x in numbers.items()
        }
        return {**found, "n": self.n}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Estimate:
        """What :meth:`to_json` gave; None becomes NaN."""
        value, low, high = (
            math.nan if data[name] is None else float(data[name])
            for name in ("value", "low", "high")
        )
        return Estimate(value, low, high, level=float(data["level"]), n=data["n"])


def _decimals(value: float) -> int:
    """As many decimals as show four digits, at most five."""
    return 3 if value == 0 else min(5, max(0, 3 - math.floor(math.log10(abs(value)))))


def percent(found: Estimate) -> str:
    """A share as text: ``12.5 % [4.6, 30.2]``."""
    return f"{100 * found.value:.1f} % [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def points(found: Estimate) -> str:
    """A difference of shares as text, in hundredths: ``-2.0 points [-5.1, +1.1]``."""
    return f"{100 * found.value:+.1f} points [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"


def plus_minus(found: Estimate, digits: int = 3) -> str:
    """A value with a symmetric interval as text: ``0.123 ± 0.004``."""
    return f"{found.value:.{digits}f} ± {found.half_width:.{digits}f}"


# --- shares


@dataclass(frozen=True)
class Share(Estimate):
    """A share with its ``count``, of ``n`` observations."""

    count: int = field(kw_only=True)

    @property
    def total(self) -> int:
        """Of how many observations it is a share."""
        return self.n or 0

    def __str__(self) -> str:
        return percent(self)


def wilson(count: int, total: int) -> Share:
    """The share ``count`` of ``total`` with Wilson's score interval at 95 %: inside [0, 1], and
    with a width also at 0 of n.

    (p + z²/2n ± z√(p(1 − p)/n + z²/4n²)) / (1 + z²/n), z = :data:`Z95`. Source: Wilson 1927.

    Raises:
        UserError: where there is no observation.
    """
    if total < 1:
        raise UserError("A share of nothing was asked for; give at least one observation.")
    share, scale, z2 = count / total, 1 + Z95**2 / total, Z95**2
    middle = share + z2 / (2 * total)
    half = Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2))
    low, high = max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
    return Share(share, low, high, n=total, count=count)


def share_difference(a: Share, b: Share) -> Estimate:
    """Difference a − b of two independent shares; interval from their Wilson intervals.

    Source: Newcombe 1998, Statistics in Medicine 17, 873–890, method 10.
    """
    gap = a.value - b.value
    return Estimate(
        gap,
        gap - math.hypot(a.value - a.low, b.high - b.value),
        gap + math.hypot(a.high - a.value, b.value - b.low),
    )


def paired_difference(here: int, there: int, n: int) -> Estimate:
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
    return Estimate((here - there) / n, max(-1.0, a - b - half), min(1.0, a - b + half), n=n)


# --- means


def mean_of(values: Array) -> Estimate:
    """Mean ± Z95 standard errors; with one value alone the interval is unbounded."""
    value, half = float(values.mean()), Z95 * _standard_error(values)
    return Estimate(value, value - half, value + half, n=len(values))


def student_mean(values: Array) -> Estimate:
    """Mean ± Student's t standard errors, the quantile of n − 1 degrees of freedom: for a few
    values, of which :func:`mean_of` is too sure; with one alone the interval is unbounded."""
    n, value = len(values), float(values.mean())
    half = student95(n - 1) * _standard_error(values) if n > 1 else math.inf
    return Estimate(value, value - half, value + half, n=n)


def mean_difference(a: Array, b: Array) -> Estimate:
    """Mean of a − mean of b, independent: ± Z95·√(s_a²/n_a + s_b²/n_b)."""
    value = float(a.mean() - b.mean())
    half = Z95 * math.hypot(_standard_error(a), _standard_error(b))
    return Estimate(value, value - half, value + half)


def _standard_error(values: Array) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.inf


# --- tests


def normal_test(difference: Estimate) -> float:
    """Two-sided p-value that a normal with this 95 % interval has mean 0: 2Φ(−|d|/s), s =
    half-width/Z95; 1 where there is no interval."""
    spread = difference.half_width / Z95
    if math.isnan(spread) or difference.value == 0:
        return 1.0
    return math.erfc(abs(difference.value) / (spread * math.sqrt(2))) if spread else 0.0


def student_test(difference: Estimate) -> float:
    """Two-sided p-value that a mean with this :func:`student_mean` interval is 0; 1 where there is
    no finite interval.

    Raises:
        UserError: where the estimate does not say n.
    """
    if difference.n is None:
        raise UserError("Student's test needs the number of values, n.")
    if difference.n < 2 or not math.isfinite(difference.half_width) or difference.value == 0:
        return 1.0
    freedom = difference.n - 1
    spread = difference.half_width / student95(freedom)
    return student_tails(abs(difference.value) / spread, freedom) if spread else 0.0


def student_tails(t: float, freedom: int) -> float:
    """P(|T| > t) of Student's t with so many degrees of freedom ν, by finite series in cos²θ, θ =
    arctan(t/√ν).

    Source: Abramowitz and Stegun 1964, eqs. 26.7.3 and 26.7.4.
    """
    angle = math.atan(t / math.sqrt(freedom))
    odd, square = freedom % 2, math.cos(angle) ** 2
    at = np.arange(1, (freedom - odd) // 2)
    ratios = (2 * at - 1 + odd) / (2 * at + odd) * square
    terms = float(np.cumprod(ratios).sum()) + 1
    if not odd:
        return max(0.0, 1 - math.sin(angle) * terms)
    more = math.sin(angle) * math.cos(angle) * terms if freedom > 1 else 0.0
    return max(0.0, 1 - 2 / math.pi * (angle + more))


@lru_cache(maxsize=256)
def student95(freedom: int) -> float:
    """The quantile of 0.975 of Student's t with so many degrees of freedom: 12.71 at 1, 2.13 at 15,
    and :data:`Z95` in the limit."""
    low, high = Z95, 13.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tails(middle, freedom) > 0.05 else (low, middle)
    return high


def sign_test(up: int, down: int) -> float:
    """Two-sided exact p-value that ``up`` and ``down`` are tosses of a fair coin; ties are left out
    by the caller.

    p = min(1, 2·P(X ≥ max(up, down))), X ~ Binomial(up + down, ½). On the discordant pairs of two
    yes–no outcomes this is McNemar's exact test.

    Raises:
        UserError: where SciPy is missing.
    """
    try:
        from scipy.stats import binomtest
    except ImportError:
        raise UserError(
            "The sign test needs scipy; install it with: pip install 'diffdescent[evaluate]'."
        ) from None
    return float(binomtest(up, up + down).pvalue) if up + down else 1.0


def holm(ps: Sequence[float]) -> list[float]:
    """p-values adjusted for their number: the k-th smallest of m times m − k + 1, made monotone, at
    most 1.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65–70.
    """
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = highest
    return adjusted
