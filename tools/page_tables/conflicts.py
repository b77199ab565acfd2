"""The tables of measured conflicts in ``docs/pxp.md``."""

from __future__ import annotations

import functools

from tools.verdict_numbers import Cells, show
from tools.verdict_tables import Tables

FIGURES = {
    "in conflict": ("direction", "1%"),
    "Φ": ("magnitude", "3"),
    "cos φ": ("cosine", "4"),
    "⟨â, b⟩ < 0 after": ("negative_after", "1%"),
    "⟨â, b̂⟩ < 0 after": ("both_negative_after", "1%"),
}
PAIRS = ("cls-den", "cls-div", "den-div")


def conflicts(tables: Tables, guidance: str) -> list[list[str]]:
    lines = [["mean over steps", *PAIRS]]
    for title, (figure, digits) in FIGURES.items():
        line = [title]
        for pair in PAIRS:
            row = tables.one("tables/conflicts.csv", guidance=guidance, pair=pair, figure=figure)
            spec = digits
            if figure == "cosine" and abs(float(row["value"])) > 0.1:
                spec = "3"
            line.append(f"{Cells(row).interval:{spec}}")
        lines.append(line)
    return lines


def readme(tables: Tables) -> list[list[str]]:
    names = {
        "DDIMScheduler": "DDIM",
        "DPMSolverMultistepScheduler": "DPM-Solver++",
        "UniPCMultistepScheduler": "UniPC",
        "ge": "`ge` (gradient estimation, for any model at once)",
        "calibrated*": "**`calibrated`** (fitted to this model)",
    }
    lines = [["five steps of `cifar10`, `cfg(scale=4)`", "distance from what the model draws"]]
    for sampler, title in names.items():
        row = Cells(tables.one("tables/readme.csv", sampler=sampler)).interval
        value = show(row.value, "3")
        lines.append([title, f"**{value}**" if "**" in title else value])
        lines[-1][1] += f" {row:3b}"
    return lines


MAKERS = {
    "conflicts-classifier": functools.partial(conflicts, guidance="classifier(scale=2)"),
    "conflicts-cfg": functools.partial(conflicts, guidance="cfg(scale=3)"),
    "readme": readme,
}
