"""The tables of ``docs/calibration.md``."""

from __future__ import annotations

import re

from tools.verdict_checks import LEVEL, Statement, corrected
from tools.verdict_numbers import Cells, Number, show
from tools.verdict_tables import BUNDLED, Tables

MODELS = {
    "cifar10-{}": ("`cifar10`", ("3", "4", "5", "6", "8", "10")),
    "cifar10-unlabelled-{}": ("`cifar10`, no labels", ("4", "5")),
    "cifar10-cfg4-{}": ("`cifar10`, `cfg(scale=4)`", ("5",)),
    "cifar10-mixture-{}": ("`cifar10-mixture`", ("3", "4", "5", "6", "8", "10")),
    "cifar10-mixture-unlabelled-{}": ("`cifar10-mixture`, no labels", ("5",)),
    "mnist-{}": ("`mnist`", ("5",)),
    "mnist-unlabelled-{}": ("`mnist`, no labels", ("5",)),
    "figures-{}": ("`figures`", ("5", "10")),
    "figures-unlabelled-{}": ("`figures`, no labels", ("5",)),
}
KINDS = {"exponential": "log-uniform", "loglinear": "log-linear", "karras": "Karras"}


def grid_in_words(grid: str) -> str:
    """``exponential(start=80.0, last=0.3)`` as ``log-uniform 80 to .3``."""
    name = grid.partition("(")[0]
    levels = dict(re.findall(r"(start|last)=([\d.]+)", grid))
    start = show(float(levels["start"]), "0") if "start" in levels else ""
    last = f"{float(levels['last']):g}".removeprefix("0") if "last" in levels else ""
    ends = f" {start} to {last}" if start and last else f" from {start}" if start else ""
    return KINDS.get(name, name) + ends


def bundled(tables: Tables) -> list[list[str]]:
    lines = [["model, evaluations", "best fixed sampler", "calibrated", "ratio"]]
    for file, (model, counts) in MODELS.items():
        for count in counts:
            raw = tables.one(BUNDLED, name=file.format(count))
            row = Cells(raw)
            fixed = f"{row.fixed:4.} ± {row.fixed_half:4.}"
            sampler = f"`{raw['fixed_recipe']}`, {grid_in_words(raw['fixed_grid'])}"
            own = f"**{row.calibrated:4.} ± {row.calibrated_half:4.}**"
            lines.append([f"{model}, {count}", f"{fixed} ({sampler})", own, f"{row.ratio:2}"])
    if len(lines) - 1 != len(tables.read(BUNDLED)):
        raise ValueError("a bundled sampler has no line")
    return lines


def distance(tables: Tables) -> list[list[str]]:
    lines = [["evaluations of `cifar10`", "best fixed sampler", "calibrated", "ratio"]]
    for nfe in ("3", "4", "5", "6", "8", "10"):
        own, fixed = (
            Cells(tables.one("results/calibrated-distance.csv", nfe=nfe, sampler=sampler))
            for sampler in ("calibrated*", "!calibrated*")
        )
        cells = [f"{fixed.interval:4.}", f"**{own.value:4.}** {own.interval:4.b}"]
        lines.append([nfe, *cells, f"{Number(own.value / fixed.value):2}"])
    return lines


def distributions(tables: Tables) -> list[list[str]]:
    """In bold what is measurably nearer than the fixed sampler of as many evaluations."""
    table = "results/paired/calibrated.csv"
    rows = tables.select(table, {"family": "within a budget"})
    tested = corrected(Statement("", "", ""), rows)
    nearer = {
        (row["where"], row["metric"]): gap < 0 and p <= LEVEL
        for row, (gap, p) in zip(rows, tested, strict=True)
    }
    lines = [
        ["evaluations", "sampler", "distance (root mean square)", "FD to the model's own images",
         "FD to test images"]
    ]  # fmt: skip
    titles = {"3": "`ge`, uniform", "5": "`ge`, log-linear", "10": "`unipc`, log-linear from 157"}
    kinds = [(nfe, kind) for nfe in titles for kind in ("calibrated*", "!calibrated*")]
    for nfe, sampler in [*kinds, ("20", "*")]:
        own = sampler == "calibrated*"
        line = [nfe, "calibrated" if own else titles.get(nfe, "`unipc(order=3)`, log-uniform")]
        for metric in ("solution_rmse", "solution_fd", "fd"):
            row = Cells(
                tables.one("results/calibrated.csv", nfe=nfe, sampler=sampler, metric=metric)
            )
            digits = {"solution_rmse": "4.", "fd": "1"}.get(metric, "3." if row.value < 1 else "2")
            value = show(row.value, digits)
            bold = "**" if own and nearer[nfe, metric] else ""
            line.append(f"{bold}{value}{bold} {row.interval:{digits}b}")
        lines.append(line)
    return lines


MAKERS = {
    "calibrated-bundled": bundled,
    "calibrated-distance": distance,
    "calibrated-distributions": distributions,
}
