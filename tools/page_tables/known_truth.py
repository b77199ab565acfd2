"""The tables of ``docs/metrics.md`` and ``docs/constraints.md`` whose truth is known."""

from __future__ import annotations

from tools.verdict_numbers import Cells, Number
from tools.verdict_tables import Maker, Tables

from .crossed import crossed, each

COVERAGE = "tables/coverage.csv"
SHIFTED = {
    "means differ": "fd, 8 features, shift 0.5, scale 1",
    "means and variances differ": "fd, 8 features, shift 0.5, scale 1.3",
    "equal": "fd, 8 features, shift 0, scale 1",
}
COLUMNS = {
    "distance at infinitely many": ("limit", 2),
    "coverage of 95 %": ("coverage", 3),
    "width / true width": ("width", 2),
    "bias, estimated": ("bias", 3),
    "bias, true": ("true bias", 3),
}
METRICS = ("fd", "sfd", "is", "precision", "recall", "kid")


def coverage_frechet(tables: Tables) -> list[list[str]]:
    lines = [["the two distributions", *COLUMNS]]
    for words, case in SHIFTED.items():
        found = {
            name: Number(tables.one(COVERAGE, case=case, figure=name)["value"])
            for name, _ in COLUMNS.values()
        }
        lines.append([words, *(f"{found[name]:{digits}}" for name, digits in COLUMNS.values())])
    return lines


def coverage_metrics(tables: Tables) -> list[list[str]]:
    lines = [["", *METRICS]]
    for words in ("coverage of 95 %", "width / true width"):
        figure, digits = COLUMNS[words]
        found = (tables.one(COVERAGE, case=name, figure=figure)["value"] for name in METRICS)
        lines.append([words, *(f"{Number(value):{digits}}" for value in found)])
    return lines


def projected(tables: Tables) -> list[list[str]]:
    rows = tables.read("tables/projected.csv")
    digits = {"mean_error": "3.", "spread": "2.", "swd": "3.", "coverage50": "2."}
    digits["coverage90"] = "2."
    return crossed(
        rows,
        "sampler, steps",
        ((f"`{one['sampler']}`, {one['steps']}", one) for one in each(rows, "sampler", "steps")),
        ((name, {"metric": name}) for name in digits),
        lambda row: format(Cells(row).interval, digits[row["metric"]]),
    )


MAKERS: dict[str, Maker] = {
    "coverage-frechet": coverage_frechet,
    "coverage-metrics": coverage_metrics,
    "projected": projected,
}
