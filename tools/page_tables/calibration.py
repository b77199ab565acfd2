"""The tables of ``docs/calibration.md`` and ``docs/calibration-measured.md``."""

from __future__ import annotations

import functools
import math
import re

import numpy as np
from tools.verdict_checks import LEVEL, Statement, corrected
from tools.verdict_numbers import Cells, Interval, Number, show
from tools.verdict_tables import BUNDLED, Maker, Tables

from diffdescent.base.statistics import student_mean

from .crossed import each

MODELS = {
    "cifar10-{}": "`cifar10`",
    "cifar10-unlabelled-{}": "`cifar10`, no labels",
    "cifar10-cfg4-{}": "`cifar10`, `cfg(scale=4)`",
    "cifar10-mixture-{}": "`cifar10-mixture`",
    "cifar10-mixture-unlabelled-{}": "`cifar10-mixture`, no labels",
    "mnist-{}": "`mnist`",
    "mnist-unlabelled-{}": "`mnist`, no labels",
    "figures-{}": "`figures`",
    "figures-unlabelled-{}": "`figures`, no labels",
}
COUNTS = (3, 4, 5, 6, 8, 10)
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
    lines = [["model, evaluations", "best fixed sampler", "calibrated", "ratio", "as near with"]]
    for file, model in MODELS.items():
        for count in COUNTS:
            raw = tables.one(BUNDLED, name=file.format(count))
            row = Cells(raw)
            fixed = f"{row.fixed:4.} ± {row.fixed_half:4.}"
            sampler = f"`{raw['fixed_recipe']}`, {grid_in_words(raw['fixed_grid'])}"
            own = f"**{row.calibrated:4.} ± {row.calibrated_half:4.}**"
            near = raw.get("pays_fixed_evaluations", f"over {3 * count}")
            lines.append([f"{model}, {count}", f"{fixed} ({sampler})", own, f"{row.ratio:2}", near])
    if len(lines) - 1 != len(tables.read(BUNDLED)):
        raise ValueError("a bundled sampler has no line")
    return lines


def size(tables: Tables) -> list[list[str]]:
    """What a calibration costs on latents, beside the network."""
    lines = [["latents", "own time", "memory", "the teacher's states"]]
    for row in tables.select("tables/calibration-size.csv", {"network": "none"}):
        shape = row["shape"].replace("x", "×")
        states = math.prod(map(int, row["shape"].split("x"))) * 4e-9
        states *= int(row["trajectories"]) * int(row["levels"])
        minutes = show(float(row["own_seconds"]) / 60, "1")
        memory = show(float(row["memory"]), "1")
        lines.append([shape, f"{minutes} min", f"{memory} GB", f"{show(states, '1')} GB"])
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
    rows = tables.select(table, {"family": "contrast:* calibrated against fixed"})
    tested = corrected(Statement("", "", ""), rows)
    nearer = {
        (row["family"].split()[1], row["metric"]): gap < 0 and p <= LEVEL
        for row, (gap, p) in zip(rows, tested, strict=True)
    }
    lines = [
        ["evaluations", "sampler", "distance (root mean square)", "FD to the model's own images",
         "FD to test images"]
    ]  # fmt: skip
    titles = {"3": "`ge`, uniform", "5": "`ge`, log-uniform", "10": "`plms`, log-linear from 157"}
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


PARTS = {
    "step by step": "as it is: step by step, 8 knots, levels searched, 40 trajectories",
    "1 knots": "1 knot (equal at all frequencies)",
    "end to end": "two rounds end to end",
    "end to end, levels of the fixed sampler": "end to end, levels begun at the fixed sampler's",
    "consistent rows": "consistent rows (order 1)",
    "history 1": "rows see the newest evaluation alone",
    "history 3": "rows see the last three evaluations",
}


def parts(tables: Tables, model: str) -> list[list[str]]:
    """Ratios over the seeds, and to those of the first part at the same seeds, by their
    logarithms."""
    rows = tables.select("tables/calibration-parts.csv", {"model": model})
    ratios: dict[str, dict[str, float]] = {}
    for row in rows:
        ratios.setdefault(row["part"], {})[row["seed"]] = float(row["ratio"])
    first = ratios[rows[0]["part"]]
    lines = [["part", "seeds", "ratio to the best fixed sampler", "against the first row, 95 %"]]
    for part, found in ratios.items():
        against = "–"
        if found is not first:
            apart = student_mean(np.log([x / first[seed] for seed, x in found.items()]))
            against = f"{Interval(*np.exp((apart.value, apart.low, apart.high))):2}"
        mean = show(float(np.mean(list(found.values()))), "2")
        lines.append([PARTS.get(part, part), str(len(found)), mean, against])
    return lines


CLOSED = {name: f"`{name}`" for name in ("ge", "plms", "dpmpp(order=2)", "unipc")} | {
    f"gaussian, order {k}": f"`gaussian`, order {k}" for k in (1, 2, 3)
}


def closed_form(tables: Tables) -> list[list[str]]:
    """In bold the least of a line, which need not be measurably so."""
    file = "tables/closed-form.csv"
    lines = [["model, evaluations", *(CLOSED.values())]]
    for line in each(tables.read(file), "model", "nfe"):
        values = [float(tables.one(file, **line, sampler=name)["value"]) for name in CLOSED]
        shown = (f"**{show(v, '4.')}**" if v == min(values) else show(v, "4.") for v in values)
        lines.append([f"`{line['model']}`, {line['nfe']}", *shown])
    return lines


PLACES = {
    "cifar10-5.json": {
        "its own": "its own (all classes in turn)",
        "class 0": "airplanes alone",
        "class 5": "dogs alone",
        "cfg 2": "`cfg(scale=2)`",
        "no labels": "no labels",
        "half size": "images of 16²",
        "double size": "images of 64²",
        "another network*": "the first network (ε, of the same data)",
    },
    "cifar10-cfg4-5.json": {
        "its own": "its own, `cfg(scale=4)`",
        "cfg 1": "no guidance (`cfg(scale=1)`)",
        "cfg 2": "`cfg(scale=2)`",
        "cfg 8": "`cfg(scale=8)`",
    },
}


def elsewhere(tables: Tables, file: str) -> list[list[str]]:
    """In bold what is measurably nearer than the best fixed sampler of the place."""
    lines = [["place", "best fixed sampler there", "calibrated", "ratio"]]
    for place, title in PLACES[file].items():
        raw = tables.one("tables/calibration-elsewhere.csv", file=file, place=place)
        row = Cells(raw)
        bold, chance = ("**", "") if raw["nearer"] == "True" else ("", ", may be chance")
        own = f"{bold}{row.calibrated:4.} ± {show(float(raw['half_interval']), '4.')}{bold}"
        lines.append([title, f"{row.fixed:4.}", own, f"{row.ratio:2}{chance}"])
    return lines


VARIANTS = {
    "rows": "every knot of the start and of all rows",
    "known start": "the same, with the teacher's state at the first level told for nothing",
    "convolutions": "the same as the first, with three convolutions after each row",
}


def limits(tables: Tables) -> list[list[str]]:
    """What would bring a calibrated sampler nearer than it is."""
    lines = [["evaluations", "what is free", "bundled", "then", "ratio of the two, 95 %"]]
    for raw in tables.read("tables/calibration-limits.csv"):
        row = Cells(raw)
        ratio = f"{row.value:2} {row.interval:2b}"
        lines.append(
            [raw["nfe"], VARIANTS[raw["variant"]], f"{row.before:4.}", f"{row.after:4.}", ratio]
        )
    return lines


LOSSES = {"pixels": "pixels", "guide": "`cifar10-guide`", "features": "`cifar10-features`"}


def losses(tables: Tables) -> list[list[str]]:
    """What fits to different losses are worth."""
    metrics = {"solution_rmse": "4.", "solution_fd": "3.", "fd": "2"}
    lines = [["evaluations", "distance of", "distance in pixels", "FD to own images", "FD to test"]]
    for nfe in ("3", "5"):
        for loss, title in LOSSES.items():
            line = [nfe, title]
            for metric, digits in metrics.items():
                row = Cells(
                    tables.one(
                        "tables/feature-loss.csv", nfe=nfe, metric=metric, sampler=f"*{loss}-*"
                    )
                )
                line.append(f"{row.value:{digits}} {row.interval:{digits}b}")
            lines.append(line)
    return lines


def others(tables: Tables) -> list[list[str]]:
    """Fréchet distances to the model's own images, of the other bundled models."""
    lines = [["model, evaluations", "best fixed sampler", "calibrated", "ratio, 95 %"]]
    for raw in tables.read("tables/calibrated-fd.csv"):
        row = Cells(raw)
        model, _, count = raw["file"].rpartition("-")
        digits = "3." if row.fixed_fd_value < 1 else "2"
        lines.append(
            [
                f"{MODELS[model + '-{}']}, {count}",
                f"{row.fixed_fd_value:{digits}}",
                f"**{row.calibrated_fd_value:{digits}}**",
                f"{row.value:2} {row.interval:2b}",
            ]
        )
    return lines


MAKERS: dict[str, Maker] = {
    "calibration-limits": limits,
    "calibration-size": size,
    "calibration-losses": losses,
    "calibrated-fd": others,
    "calibration-parts": functools.partial(parts, model="cifar10-mixture"),
    "calibration-parts-cifar10": functools.partial(parts, model="cifar10"),
    "calibration-elsewhere": functools.partial(elsewhere, file="cifar10-5.json"),
    "calibration-elsewhere-cfg": functools.partial(elsewhere, file="cifar10-cfg4-5.json"),
    "closed-form": closed_form,
    "calibrated-bundled": bundled,
    "calibrated-distance": distance,
    "calibrated-distributions": distributions,
}
