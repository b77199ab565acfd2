"""Whether a study's paired differences fit its table: values, differences and intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tools.verdict_tables import Row, Tables

METRICS = {"FID": "fd", "sFID": "sfd", "IS": "is", "precision": "precision", "recall": "recall"}


def _half(number: str) -> float:
    """Half a unit of the last digit that is written."""
    return 0.505 * 10.0 ** -len(number.partition(".")[2])


def unfit(tables: Tables, name: str) -> Iterator[str]:
    """What is wrong with ``results/paired/NAME``. A published ordering's difference is how much
    better a is: b − a for metrics whose least value is best."""
    study = tables.read(f"results/{name}")
    for row in tables.read(f"results/paired/{name}"):
        metric = row["metric"] or METRICS.get(row["where"], "fd")
        for side in ("a", "b"):
            text = row[f"{side}_value"]
            known = [float(x["value"]) for x in _of(study, row[side], metric)]
            if not any(abs(x - float(text)) <= _half(text) for x in known):
                yield f"{name}: {row} has values that the study's table has not"
        a, b, gap, low, high = (
            float(row[k]) for k in ("a_value", "b_value", "difference", "low", "high")
        )
        slack = sum(_half(row[k]) for k in ("a_value", "b_value", "difference"))
        turned = row["family"].startswith("published") and metric in ("fd", "sfd")
        if abs((b - a if turned else a - b) - gap) > slack:
            yield f"{name}: {row} has a difference that is not that of its values"
        if not low <= gap <= high:
            yield f"{name}: {row} has an interval that does not hold its difference"


def _of(study: Sequence[Row], label: str, metric: str) -> list[Row]:
    """The study's rows of a metric, of the cell that a label names where it names one."""
    rows = [row for row in study if row["metric"] == metric]
    name, _, rest = label.partition(": ")
    parts = (rest if rest and any(row["name"] == name for row in rows) else label).split("; ")
    called = [row for row in rows if set(parts) <= set(row.values())]
    return called or rows
