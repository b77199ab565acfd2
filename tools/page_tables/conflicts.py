"""The tables of measured conflicts in ``docs/pxp.md``."""

from __future__ import annotations

import functools

from tools.verdict_numbers import Cells, show
from tools.verdict_tables import Maker, Row, Tables

from .crossed import crossed

FIGURES = {
    "in conflict": ("direction", "1%"),
    "Φ": ("magnitude", "3"),
    "cos φ": ("cosine", "5"),
    "⟨â, b⟩ < 0 after": ("negative_after", "1%"),
    "⟨â, b̂⟩ < 0 after": ("both_negative_after", "1%"),
}
PAIRS = ("cls-den", "cls-div", "den-div")


def _conflict(row: Row) -> str:
    large = row["figure"] == "cosine" and abs(float(row["value"])) > 0.1
    digits = dict(FIGURES.values())[row["figure"]]
    return f"{Cells(row).interval:{'3' if large else digits}}"


def conflicts(tables: Tables, guidance: str) -> list[list[str]]:
    return crossed(
        tables.select("tables/conflicts.csv", {"guidance": guidance}),
        "mean over steps",
        [(title, {"figure": figure}) for title, (figure, _) in FIGURES.items()],
        [(pair, {"pair": pair}) for pair in PAIRS],
        _conflict,
    )


def readme(tables: Tables) -> list[list[str]]:
    names = {
        "DDIMScheduler": "DDIM",
        "DPMSolverMultistepScheduler": "DPM-Solver++",
        "UniPCMultistepScheduler": "UniPC",
        "ge": "`ge` (gradient estimation, needs no fit)",
        "ge @ exponential*": "`ge @ exponential(start=80, last=0.3)` (the best of a search)",
        "calibrated*": "**`calibrated`** (fitted to this model)",
    }
    lines = [["five steps of `cifar10`, `cfg(scale=4)`", "distance from what the model draws"]]
    for sampler, title in names.items():
        name, _, grid = sampler.partition(" @ ")
        wanted = {"grid": grid or "loglinear"} if name == "ge" else {}
        row = Cells(tables.one("tables/readme.csv", sampler=name, **wanted)).interval
        value = show(row.value, "3")
        lines.append([title, f"**{value}**" if "**" in title else value])
        lines[-1][1] += f" {row:3b}"
    return lines


MAKERS: dict[str, Maker] = {
    "conflicts-classifier": functools.partial(conflicts, guidance="classifier(scale=2)"),
    "conflicts-cfg": functools.partial(conflicts, guidance="cfg(scale=3)"),
    "readme": readme,
}
