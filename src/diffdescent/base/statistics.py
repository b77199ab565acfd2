"""Statistics that several parts use: the 95 % interval of a share, and p-values of many
comparisons."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z95 = 1.959963984540054  # the normal quantile of 0.975


def wilson(share: float, total: int) -> tuple[float, float]:
    """Wilson's score interval at 95 % of a share of ``total`` trials: inside [0, 1], and with a
    width also at 0 of n.

    (p + z²/2n ± z√(p(1 − p)/n + z²/4n²)) / (1 + z²/n), z = 1.96. Source: Wilson 1927.
    """
    scale, z2 = 1 + Z95**2 / total, Z95**2
    middle, half = (
        share + z2 / (2 * total),
        Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)),
    )
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


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
