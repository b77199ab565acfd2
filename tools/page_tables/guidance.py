"""The tables of guidance and PixelAsParam in ``docs/results``."""

from __future__ import annotations

import statistics
from functools import partial

from tools.verdict_numbers import Cells, show
from tools.verdict_tables import Maker, Row, Tables

from .behind import behind, decided
from .crossed import each
from .samplers import published, value


def _only_behind(tables: Tables, study: str, row: Row, where: str) -> str:
    """FD with its interval, in bold where not measurably behind the best."""
    label = f"{row['name']}: *"
    return behind(tables, study, where, label).bold(f"{Cells(row).interval:1}")


REST = {"sfd": "1", "precision": "2.", "recall": "2."}
"""Metrics, and how they are written."""
UNCONDITIONAL = {
    "no guidance": "unguided",
    "CIFAR-10: scale 0.3": "guided, CIFAR-10 preset",
    "CIFAR-10: 0.2 and PxP, δ .007 to .1": "PxP, CIFAR-10 preset",
    "64²: scale 2": "guided, 64² preset",
    "64²: 0.5 and PxP, δ = 1": "PxP, 64² preset",
    "256²: scale 10": "guided, 256² preset",
    "256²: 1 and PxP, δ = 1": "PxP, 256² preset",
}
CONDITIONAL = {
    "no guidance": "unguided",
    "64²: scale 2": "guided, 64² preset",
    "128²: scale 0.5": "guided, 128² preset",
    "64² and 128²: 0.5 and PxP": "PxP, 64² and 128² preset",
    "256²: scale 1": "guided, 256² preset",
    "256²: 0.7 and PxP": "PxP, 256² preset",
}
FREE = {"`cfg(scale=1.5, clip=1)`": "CFree", "`… \\| pxp`": "CFree-PxP"}


def five(tables: Tables, study: str, where: str, names: dict[str, str]) -> list[list[str]]:
    """The paper's five metrics of cells, which ``names`` has by the titles of their lines."""
    lines = [["", "Inception Score", "FD", "spatial FD", "precision", "recall"]]
    for title, name in names.items():
        row = {m: value(tables, study, m, name=name) for m in ("is", "fd", *REST)}
        rest = (f"{Cells(row[m]).interval:{digits}}" for m, digits in REST.items())
        score = f"{Cells(row['is']).interval:2}"
        lines.append([title, score, _only_behind(tables, study, row["fd"], where), *rest])
    return lines


def _score_and_fd(tables: Tables, study: str, names: dict[str, str]) -> list[list[str]]:
    first = "pairs" if study == "pxp-table-6" else "denoising gradient"
    lines = [[first, "Inception Score here", "published", "FD here", "published"]]
    for name, title in names.items():
        score = Cells(value(tables, study, "is", name=name))
        lines.append(
            [
                title,
                f"{score.interval:2}",
                show(published(study, name), "2"),
                _only_behind(tables, study, value(tables, study, name=name), "50"),
                show(published(study, name, 1), "2"),
            ]
        )
    return lines


def denoising(tables: Tables) -> list[list[str]]:
    names = {k: k for k in ("x0 prediction", "x0 sampling", "noise prediction")}
    return _score_and_fd(tables, "pxp-table-5", {**names, "no PxP": "no guidance"})


def pairs(tables: Tables) -> list[list[str]]:
    names = ("no pair", "cls-div", "cls-den and cls-div", "cls-den", "all three", "den-div")
    return _score_and_fd(tables, "pxp-table-6", {name: name for name in names})


def deltas(tables: Tables) -> list[list[str]]:
    lines = [["", "Inception Score", "FD"]]
    for k, name in enumerate(("δ₁", "δ₂", "δ₃", "δ₄"), 1):
        line = [name]
        for metric, digits, spread in (("is", "3", "3"), ("fd", "1", "2")):
            rows = tables.select("results/pxp-table-8.csv", {"name": name, "metric": metric})
            found = [float(row["value"]) for row in rows if row[f"delta{k}"]]
            line.append(
                f"{show(statistics.mean(found), digits)} ± {show(statistics.stdev(found), spread)}"
            )
        lines.append(line)
    return lines


METRICS = {"agreement": "3.", "fd": "1", "precision": "2.", "recall": "3.", "is": "2"}


def _sweep(
    tables: Tables, guide: str, family: str, still: str, names: dict[str, str]
) -> list[list[str]]:
    """Without and with PxP by scale; ``still`` is the scale at which PxP does nothing."""
    study = "guidance-scale"
    lines = [["scale", "agreement", "FD", "precision", "recall", "Inception Score"]]
    for scale in ("0", "0.5", "1", "2", "5", "10"):
        line = [names.get(scale, scale)]
        for metric, digits in METRICS.items():
            plain, pxp = (
                value(tables, study, metric, guidance=guide.format(scale) + end)
                for end in ("", " | pxp")
            )
            text = show(float(plain["value"]), digits)
            if scale != still:
                text += f" → {show(float(pxp['value']), digits)}"
                at = [f"scale = {scale}", f"scale = {scale} (*"]
                ((_, sure),) = decided(tables, study, family, metric=metric, where=at)
                text = f"**{text}**" if sure else text
            line.append(text)
        lines.append(line)
    return lines


def classifier(tables: Tables) -> list[list[str]]:
    family = "contrast: Classifier guidance: with*"
    return _sweep(tables, "classifier(scale={})", family, "0", {})


def classifier_free(tables: Tables) -> list[list[str]]:
    names = {"0": "0 (the unconditional model)", "1": "1 (the conditional model)"}
    return _sweep(tables, "cfg(scale={}, clip=1)", "contrast: Classifier-free*", "1", names)


def presets(tables: Tables) -> list[list[str]]:
    """The preset of a run without guidance, and that under it, by model, scale and steps."""
    table, under = "tables/guided-presets.csv", "unipc; uniform(spacing=linspace, open=true)"
    lines = [["model, scale", "steps", "preset without guidance", "preset under it"]]
    for one in each(tables.read(table), "model", "guidance", "steps"):
        usual = "ge; loglinear" if int(one["steps"]) <= 7 else "unipc; loglinear"
        cells = []
        for text in (usual, under):
            sampler, grid = text.split("; ")
            row = Cells(tables.one(table, sampler=sampler, grid=grid, **one)).interval
            cells.append(f"{row:3.}")
        scale = one["guidance"].removeprefix("cfg(scale=").removesuffix(")")
        lines.append([f"`{one['model']}`, {scale}", one["steps"], *cells])
    return lines


MAKERS: dict[str, Maker] = {
    "guided-presets": presets,
    "pxp-unconditional": partial(five, study="pxp-table-1", where="50", names=UNCONDITIONAL),
    "pxp-conditional": partial(five, study="pxp-table-2", where="50", names=CONDITIONAL),
    "cfg-pxp": partial(five, study="pxp-table-4", where="100", names=FREE),
    "denoising": denoising,
    "pairs": pairs,
    "deltas": deltas,
    "classifier-scale": classifier,
    "cfg-scale": classifier_free,
}
