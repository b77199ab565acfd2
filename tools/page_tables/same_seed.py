"""The table of ``docs/same-seed.md``."""

from __future__ import annotations

import math

from tools.verdict_tables import Maker, Tables


def rounded(value: float, half: float) -> str:
    """``0.723 ± 0.062``: both to the second digit of the half width."""
    places = max(1 - math.floor(math.log10(half)), 0)
    return f"{value:.{places}f} ± {half:.{places}f}"


def same_seed(tables: Tables) -> list[list[str]]:
    lines = [["what differs", "RMS difference"]]
    for row in tables.read("tables/same-seed.csv"):
        value, high = float(row["value"]), float(row["high"])
        lines.append([row["what"], rounded(value, high - value)])
    return lines


MAKERS: dict[str, Maker] = {"same-seed": same_seed}
