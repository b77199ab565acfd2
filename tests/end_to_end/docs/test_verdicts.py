"""Tables and sentences of the documentation agree, and a falsified one of either is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tools.page_tables.power import detectable
from tools.verdict_numbers import Interval, show
from tools.verdict_tables import Tables
from tools.verdicts import ROOT, check, written

RESULTS, FIGURES, PXP, YAML = "results/README.md", "peculiarity.md", "pxp.md", "verdicts.yaml"
PAIRED = "results/paired"
MEASURED = "calibration-measured.md"
FITTED = Path("src", "diffdescent", "assets", "calibrated")


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that may be changed."""
    folder = tmp_path_factory.mktemp("falsified")
    kept = shutil.ignore_patterns("*.png", "*.svg")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=kept)
    shutil.copytree(ROOT / "studies" / "registered", folder / "studies" / "registered")
    shutil.copytree(ROOT / FITTED, folder / FITTED)
    shutil.copy(ROOT / "README.md", folder)
    return folder / "docs"


FALSE = [
    # tables: a cell, two cells swapped, bold taken away, an integer, a half width, a published one
    (RESULTS, "28.3 (9.9", "28.7 (9.9"),
    (RESULTS, "| 2.25 | **18.4** |", "| 2.25 | **17.9** |"),
    (RESULTS, "| **18.9** (1.1 [0.1, 2.0])", "| 18.9 (1.1 [0.1, 2.0])"),
    (RESULTS, "3.585 ± 0.305", "3.785 ± 0.305"),
    (RESULTS, "**47.0 → 30.6**", "47.0 → 30.6"),
    (RESULTS, "| 14.18 |", "| 12.18 |"),
    (RESULTS, "| **37.8** |", "| 37.8 |"),
    (FIGURES, "| 10/6, 6/4, 4/2, 3/1 |", "| 1/60, 6/4, 4/2, 3/1 |"),
    (FIGURES, "63 / 65 / 64", "93 / 95 / 94"),
    (FIGURES, "−51 points [−66, −31]", "−61 points [−66, −31]"),
    (FIGURES, "| 19.8 % | 11.2 %", "| 19.8 % | 19.2 %"),
    (PXP, "39.8 % [36.8, 42.8]", "29.8 % [26.8, 32.8]"),
    ("../README.md", "[0.042, 0.053]", "[0.030, 0.036]"),
    (MEASURED, ".0219 ± .0028", ".0179 ± .0028"),
    (MEASURED, "7.67 [7.43, 7.92]", "4.67 [4.43, 4.92]"),
    (MEASURED, "1.27 [1.09, 1.49]", "1.27 [0.99, 1.63]"),
    (MEASURED, "| .0508 ± .0111 | 0.85, may be chance |", "| **.0508 ± .0111** | 0.85 |"),
    (MEASURED, "| .0439 | 0.94 [0.92, 0.96] |", "| .0339 | 0.74 [0.72, 0.76] |"),
    ("diffusers.md", "| .104 | **.057** | **.046** |", "| .104 | **.057** | **.036** |"),
    ("restore.md", "28.0 ± 1.2 | 26.5", "29.0 ± 1.2 | 26.5"),
    ("restore.md", "+1.64 ± 0.25", "+2.64 ± 0.25"),
    ("restore.md", "44 [41, 47]", "34 [31, 37]"),
    ("restore.md", "| 11 %, 0.79, 0.38 |", "| 11 %, 0.99, 0.48 |"),
    # sentences: n in a heading, counts, p, a bound, an order turned round
    (RESULTS, "in ten evaluations? (N = 512)", "in ten evaluations? (N = 5120)"),
    (RESULTS, "Of 44 published orderings", "Of 94 published orderings"),
    (RESULTS, "decided of the 36 tests", "decided of the 63 tests"),
    (RESULTS, "δ₂ and δ₄ matter, δ₁ and δ₃ hardly", "δ₁ and δ₃ matter, δ₂ and δ₄ hardly"),
    (FIGURES, "p < 1e-37", "p < 1e-67"),
    (FIGURES, "the 1,407 readable", "the 1,700 readable"),
    (FIGURES, "at most 7.6 points", "at most 2.6 points"),
    (PXP, "(.989 against .81)", "(.989 against .98)"),
    ("restore.md", "+0.88 ± 0.14", "+0.98 ± 0.14"),
    ("restore.md", "2.4 and 2.3 % are left", "1.4 and 1.3 % are left"),
    ("restore.md", "has the highest mean", "has the lowest mean"),
    ("restore.md", "with 0.88 to\n  0.94 of", "with 0.98 to\n  1.04 of"),
    ("restore.md", "1.06 [1.03, 1.08]", "1.00 [0.92, 1.08]"),
    ("restore.md", "at both noises (14 tests", "at both noises (41 tests"),
    (MEASURED, "3.3, 3.6 and 19.9 %", "3.3, 3.6 and 9.9 %"),
    ("calibration.md", "**Strongest**: .16", "**Strongest**: .06"),
    ("calibration.md", "and .48 to .61 under", "and .28 to .41 under"),
    ("guidance.md", "at .166 with 5 steps", "at .156 with 5 steps"),
    (FIGURES, "third arm 2.0 % [0.9, 4.3]", "third arm 1.0 % [0.4, 2.3]"),
    (MEASURED, "nearer for 382 of", "nearer for 384 of"),
    (MEASURED, "to add) bring .94 and .95", "to add) bring .74 and .85"),
    ("measurements.md", "momentum(beta=0.2)` | 0.2347", "momentum(beta=0.2)` | 0.1347"),
    ("tables/scheduler.csv", "flow: euler,64", "flow: euler,63"),
    # what they are made from: a difference, its interval, a reading, a number of tests, an outcome
    (f"{PAIRED}/beta.csv", "0.264141,-0.207953,0.736235", "-0.264141,-0.736235,0.207953"),
    (f"{PAIRED}/guidance-scale.csv", "-5.85166,-9.3221,-2.38121", "-5.85166,-12.3221,0.61879"),
    (f"{PAIRED}/schedules.csv", "loglinear(start=40),43.1692", "loglinear(start=40),44.1692"),
    (f"{PAIRED}/gamma.csv", "behind the best", "ahead"),
    ("../studies/registered/figures.csv", ",n,n,n,n,n,", ",n,n,n,n,p,"),
    ("tables/restore-mixture.csv", "0.012255,", "0.112255,"),
    (YAML, 'b: "ge*"}]\n    expect: higher', 'b: "ge*"}]\n    expect: lower'),
]  # fmt: skip


def test_every_statement_and_table_is_as_it_comes_out() -> None:
    verdicts, wrong = check(ROOT / "docs")
    assert not wrong, "\n".join(wrong)
    assert (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8") == written(verdicts)


def test_what_is_falsified_is_found(docs: Path) -> None:
    """Each place alone, in one test: what does not change is read once."""
    tables = Tables(docs)
    assert check(docs, tables)[1] == []
    missed = []
    for name, old, new in FALSE:
        path = docs / name
        text = path.read_text(encoding="utf-8")
        assert old in text, old
        path.write_text(text.replace(old, new), encoding="utf-8")
        changed = Tables(docs) if path.suffix == ".csv" else tables
        if not check(docs, changed)[1]:
            missed.append((name, old, new))
        path.write_text(text, encoding="utf-8")
    assert not missed, missed


def test_numbers_are_written_as_the_pages_have_them() -> None:
    assert show(-1.719, "1") == "−1.7"
    assert show(0.4445, "2.") == ".44"
    assert show(0.6842, "0%") == "68"
    assert show(2000, "0") == "2,000"
    assert show(0.1035, "3.") == ".104"
    assert show(1.1e-38, "e") == "1e-37"
    assert f"{Interval(-3.537, -5.36, -1.715):1a}" == "3.5 [1.7, 5.4]"


def test_the_power_of_a_test_is_that_of_the_textbook() -> None:
    """One standard error and one test: 1.960 + 0.842; of five tests 2.576 + 0.842."""
    rows = [{"low": "-0.959964", "high": "2.959964"}]
    assert detectable(rows, 1) == pytest.approx(2.8016, abs=1e-4)
    assert detectable(rows, 5) == pytest.approx(3.4175, abs=1e-4)
