"""The reports of ``docs/results`` can be made again from the tables that are kept."""

from __future__ import annotations

import re

import pytest
from tools.results_reports import page, read

from tests.paths import DOCS

TABLES = sorted((DOCS / "results").glob("*.csv"))


def test_nothing_large_is_kept() -> None:
    assert not list((DOCS / "results").glob("*.html"))
    assert sum(path.stat().st_size for path in DOCS.rglob("*") if path.is_file()) < 4_000_000


@pytest.mark.parametrize("path", TABLES, ids=lambda path: path.stem)
def test_a_table_can_be_read(path: object) -> None:
    rows, _ = read(path)  # type: ignore[arg-type]
    assert all(isinstance(row["value"], int | float) for row in rows)


def test_a_report_has_curves_and_every_cell() -> None:
    path = DOCS / "results" / "samplers-gradient-estimation.csv"
    rows, _ = read(path)
    text = page(path)
    assert text.count("data:image/svg+xml") >= 2
    assert text.count("<tr>") == 1 + len({row["cell"] for row in rows})
    assert re.search(r"<td>ge\(gamma=2\)</td>", text)
