"""What the studies of ``docs/results`` could have found: the power of their families of tests."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from statistics import NormalDist

from tools.paired_checks import METRICS
from tools.verdict_checks import LEVEL
from tools.verdict_numbers import show
from tools.verdict_tables import Maker, Row, Tables

POWER = 0.8
KINDS = {
    "behind the best": "behind the best",
    "contrast*": "a method against another",
    "published*": "published orderings",
}
SHOWN = {"fd": "1", "is": "2", "recall": "3."}
"""Metrics, and how their differences are written."""
STUDIES = (
    "schedules", "samplers-gradient-estimation", "gamma", "beta", "samplers-momentum", "cost",
    "pxp-table-1", "pxp-table-2", "pxp-table-4", "pxp-table-5", "pxp-table-6", "pxp-table-8",
    "pxp-table-9", "guidance-scale",
)  # fmt: skip


def detectable(rows: Sequence[Row], tests: int) -> float:
    """The difference that one test of a family finds with probability :data:`POWER` at the
    strictest of Holm's thresholds, median over the rows:

        (z(1 − LEVEL/2m) + z(POWER))·s,    s the standard error of the paired difference.
    """
    normal = NormalDist()
    factor = normal.inv_cdf(1 - LEVEL / (2 * tests)) + normal.inv_cdf(POWER)
    widths = [float(row["high"]) - float(row["low"]) for row in rows]
    return factor * statistics.median(widths) / (2 * normal.inv_cdf(0.975))


def _metric(row: Row) -> str:
    return row["metric"] or METRICS.get(row["where"], "fd")


def power(tables: Tables) -> list[list[str]]:
    lines = [["study", "N", "differences", "tests in a family", "FD", "Inception Score", "recall"]]
    for study in STUDIES:
        n = show(float(tables.read(f"results/{study}.csv")[0]["n"]), "0")
        for kind, name in KINDS.items():
            rows = tables.select(f"results/paired/{study}.csv", {"family": kind})
            families: dict[str, list[Row]] = defaultdict(list)
            for row in rows:
                families[row["family"]].append(row)
            sizes = sorted(len(family) for family in families.values())
            if not sizes:
                continue
            line = [study, n, name, "–".join(dict.fromkeys((f"{sizes[0]}", f"{sizes[-1]}")))]
            for metric, digits in SHOWN.items():
                found = [
                    detectable(kept, len(family))
                    for family in families.values()
                    if (kept := [row for row in family if _metric(row) == metric])
                ]
                line.append(show(statistics.median(found), digits) if found else "")
            lines.append(line)
    return lines


MAKERS: dict[str, Maker] = {"power": power}
