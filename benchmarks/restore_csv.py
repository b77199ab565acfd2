"""What ``benchmarks/restore.py --json`` kept, as the tables of the page.

``restore-deepinv.csv`` has each method's PSNR, ``restore-deepinv-paired.csv`` the differences image
by image.

Usage: python benchmarks/restore_csv.py ROWS.json [--out docs/tables]

The rows of the model are replaced, those of others stay. Intervals are Student's t over the images.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from diffdescent.base.csv_text import csv_text
from diffdescent.base.files import write_atomically
from diffdescent.base.statistics import Estimate, student_mean

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.restore import OWN, SAME

HEAD = ("model", "operator", "noise", "budget", "who", "method", "nfe", "images")
PAIRED = ("family", "where", "a", "b", "a_value", "b_value", "difference", "low", "high", "n")
Row = dict[str, Any]


def numbers(found: Estimate) -> list[str]:
    """A value and its interval, five digits each."""
    return [f"{x:.5g}" for x in (found.value, found.low, found.high)]


def psnr(row: Row) -> Estimate:
    """The mean over the images."""
    return student_mean(np.array(row["psnr"]))


def named(method: str) -> str:
    """A method's text, without the levels that are deepinv's."""
    return method.removesuffix(" @ deepinv")


def pair(family: str, where: str, ours: Row, theirs: Row, better: bool = False) -> list[str]:
    """A line of the second table; ``better``: theirs is the better of several of its kind."""
    apart = student_mean(np.array(ours["psnr"]) - np.array(theirs["psnr"]))
    values = [f"{psnr(row).value:.5g}" for row in (ours, theirs)]
    kind = theirs["method"].partition(",")[0]
    names = [named(ours["method"]), f"the better {kind}" if better else theirs["method"]]
    return [family, where, *names, *values, *numbers(apart), str(len(ours["psnr"]))]


def pairs(rows: list[Row], model: str) -> Iterator[list[str]]:
    """Same settings, our settings, and our best at the least budget against their best at the
    greatest."""
    budgets = sorted({row["budget"] for row in rows})
    for operator in dict.fromkeys(row["operator"] for row in rows):
        here = {(r["budget"], r["who"], r["method"]): r for r in rows if r["operator"] == operator}
        for budget in budgets:
            where = f"{model}, {operator}, {budget}"
            for family, names in (("same settings", SAME), ("settings of ours", OWN)):
                for ours in dict.fromkeys(names.values()):
                    theirs = [name for name in names if names[name] == ours]
                    found = [here.get((budget, "deepinv", name)) for name in theirs]
                    a, peers = here.get((budget, "ours", ours)), [row for row in found if row]
                    if a and len(peers) == len(theirs):
                        yield pair(family, where, a, max(peers, key=_mean), len(peers) > 1)
        few, many = budgets[0], budgets[-1]
        best = [
            max((r for (n, who, _), r in here.items() if (n, who) == of), key=_mean, default=None)
            for of in ((few, "ours"), (many, "deepinv"))
        ]
        if best[0] and best[1]:
            family = f"our best at {few} against {many}"
            yield pair(family, f"{model}, {operator}, {few} and {many}", best[0], best[1])


def _mean(row: Row) -> float:
    return psnr(row).value


def replace(path: Path, head: tuple[str, ...], lines: list[list[str]], old: Any) -> None:
    """Write the table: the lines that are not ``old``, and these."""
    with path.open(encoding="utf-8", newline="") as file:
        kept = [row for row in list(csv.reader(file))[1:] if not old(row)]
    write_atomically(path, csv_text([head, *lines, *kept]).encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/tables"))
    asked = parser.parse_args()
    found = json.loads(asked.rows.read_text(encoding="utf-8"))
    rows: list[Row] = found["rows"]
    model, noise = found["of"]["model"], found["of"]["noise"]
    first = rows[0]["operator"]
    rows.sort(key=lambda r: (r["operator"] != first, r["budget"], r["who"]))
    lines = [
        [model, r["operator"], f"{noise:g}", r["budget"], r["who"], r["method"],
         r["nfe"], len(r["psnr"]), *numbers(psnr(r))]
        for r in rows
    ]  # fmt: skip
    head = (*HEAD, "psnr", "psnr_low", "psnr_high")
    replace(asked.out / "restore-deepinv.csv", head, lines, lambda row: row[0] == model)
    replace(
        asked.out / "restore-deepinv-paired.csv", PAIRED, list(pairs(rows, model)),
        lambda row: row[1].startswith(f"{model}, "),
    )  # fmt: skip


if __name__ == "__main__":
    main()
