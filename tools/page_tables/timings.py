"""``docs/measurements.md``: our times next to those of diffusers."""

from __future__ import annotations

from tools.verdict_numbers import Cells, show
from tools.verdict_tables import Maker, Row, Tables

from .crossed import each

SCHEDULER = "tables/scheduler.csv"
SHAPES = {"small": "4×3×32×32", "memory-bound": "64×3×128×128"}


def _time(row: Row, who: str) -> str:
    """A median with its interval: µs below 1,000, else ms."""
    value, low, high = (float(row[name]) for name in (who, f"{who}_low", f"{who}_high"))
    scale, unit, digits = (1, "µs", 1) if value < 1000 else (1000, "ms", 2)
    texts = [show(x / scale, str(digits)) for x in (value, low, high)]
    return f"{texts[0]} [{texts[1]}, {texts[2]}] {unit}"


def overhead(tables: Tables) -> list[list[str]]:
    """A step outside the network, each size, recipe and number of threads."""
    lines = [["size", "recipe", "threads", "ours", "diffusers", "ours/diffusers", "ours/floor"]]
    for row in tables.read("tables/overhead.csv"):
        ratio = f"{Cells(row).interval:2}"
        floor = show(float(row["ours"]) / float(row["floor"]), "1") if row["floor"] else ""
        times = (_time(row, who) for who in ("ours", "theirs"))
        lines.append(
            [SHAPES[row["size"]], f"`{row['recipe']}`", row["threads"], *times, ratio, floor]
        )
    return lines


def scheduler(tables: Tables) -> list[list[str]]:
    """A scheduler's step by recipe, the sizes side by side; ratios above one half are bold."""
    rows = tables.read(SCHEDULER)
    sizes = [one["size"] for one in each(rows, "size")]
    head = [f"{size}: {name}" for size in sizes for name in ("diffdescent", "diffusers", "ratio")]
    lines = [["recipe", *head]]
    for one in each(rows, "recipe"):
        cells = []
        for size in sizes:
            found = Cells(tables.one(SCHEDULER, size=size, **one))
            ratio = f"**{found.interval:2}**" if found.value > 0.5 else f"{found.interval:2}"
            cells += [f"{found.ours:0}", f"{found.theirs:0}", ratio]
        lines.append([f"`{one['recipe']}`", *cells])
    return lines


MAKERS: dict[str, Maker] = {"overhead": overhead, "scheduler": scheduler}
