"""``paired.csv``: the differences of a study that its verdicts rest on."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from diffdescent.base.statistics import Estimate, holm, normal_test
from diffdescent.lab.study import execute
from diffdescent.lab.study.contrasts import contrast
from diffdescent.lab.study.paired_table import COLUMNS, write_paired
from diffdescent.lab.study.published import compare
from diffdescent.lab.study.summary import ranked
from tests.unit.lab.study.conftest import Make
from tests.unit.lab.study.test_contrasts import WITH_AND_WITHOUT
from tests.unit.lab.study.test_contrasts import line as cell
from tests.unit.lab.study.test_published import TABLE
from tests.unit.lab.study.test_published import line as published_line


def rows_of(path: Path) -> list[dict[str, str]]:
    with (path / "paired.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def p_values(rows: list[dict[str, str]]) -> list[float]:
    numbers = [[float(row[name]) for name in ("difference", "low", "high")] for row in rows]
    return holm([normal_test(Estimate(*one)) for one in numbers])


def test_verdicts_come_out_again(tmp_path: Path) -> None:
    lines = [cell("a", 1, fd=5.0), cell("a", 2, seed=1, fd=4.0), cell("b", 1, seed=2, fd=3.0)]
    gaps = contrast(WITH_AND_WITHOUT, lines, ["scale"])
    write_paired(tmp_path, lines, [], [gaps])
    rows = rows_of(tmp_path)
    behind = [row for row in rows if row["family"] == "behind the best"]
    expected = [one.p for one in ranked(lines, "fd") if one.behind.value]
    assert p_values(behind) == pytest.approx(expected)
    found = [row for row in rows if row["family"] == "contrast: b against a"]
    assert [float(row["difference"]) for row in found] == [-2.0]
    assert [(row["where"], row["metric"]) for row in found] == [("scale = 1", "fd")]
    assert tuple(rows[0]) == COLUMNS


def test_published_orderings_are_above_zero_in_their_order(tmp_path: Path) -> None:
    lines = [published_line(*one) for one in (("a", 5, 3.0), ("b", 5, 2.0), ("c", 5, 4.0))]
    beside = compare(TABLE, lines)
    write_paired(tmp_path, lines, [beside], [])
    found = {
        (row["a"], row["b"]): float(row["difference"])
        for row in rows_of(tmp_path)
        if row["family"] == "published: T"
    }
    assert found == {("a", "b"): -1.0, ("a", "c"): 1.0, ("b", "c"): 2.0}


def test_a_study_writes_it(make: Make, tmp_path: Path) -> None:
    execute(make(samplers=["ddim", "ge", "unipc"]), tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert [row["where"] for row in rows] == ["4", "4", "8", "8"]
    assert {row["metric"] for row in rows} == {"rmse"}
    assert all(float(row["low"]) < float(row["high"]) for row in rows)
