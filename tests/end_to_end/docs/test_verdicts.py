"""Text and tables of the documentation say the same, and a falsified one of either is found."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tools.verdict_checks import stands
from tools.verdicts import ROOT, check, written

PAGE, YAML = "results/README.md", "verdicts.yaml"
PAIRED = "results/paired"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    """A copy that may be changed."""
    kept = shutil.ignore_patterns("*.png", "*.svg")
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=kept)
    shutil.copytree(ROOT / "studies" / "registered", tmp_path / "studies" / "registered")
    fitted = Path("src", "diffdescent", "assets", "calibrated")
    shutil.copytree(ROOT / fitted, tmp_path / fitted)
    shutil.copy(ROOT / "README.md", tmp_path)
    return tmp_path / "docs"


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_every_statement_is_as_its_table_says() -> None:
    verdicts, wrong = check(ROOT / "docs")
    assert not wrong, "\n".join(wrong)
    assert (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8") == written(verdicts)


@pytest.mark.parametrize(
    ("file", "old", "new", "what"),
    [
        (PAGE, "(by 3.5 [1.7, 5.4])", "(by 4.5 [1.7, 5.4])", "is not on the page"),
        (PAGE, "6.3 [5.3, 7.3]", "6.3 [5.1, 7.3]", "6.3 [5.1, 7.3] is not in"),
        (PAGE, "**57.7 → 54.2**", "**57.7 → 53.2**", "53.2 is not in"),
        (YAML, "(by 3.5 [1.7, 5.4])", "(by 4.5 [1.7, 5.4])", "says 4.5, which is not in its rows"),
        (
            f"{PAIRED}/guidance-scale.csv",
            "-3.537,-5.360,-1.715",
            "-3.537,-7.360,0.285",
            "should come out",
        ),
        (
            f"{PAIRED}/schedules.csv",
            "ddim; ddim(start=40),ddim; loglinear(start=40),74.44",
            "ddim; ddim(start=40),ddim; loglinear(start=40),75.44",
            "has values that the study's table has not",
        ),
        (f"{PAIRED}/gamma.csv", "behind the best", "ahead", "selects no row"),
        (PAGE, "| **78.0** (2.5", "| **78.4** (2.5", "1.75, 5: 78.4 is not its row's"),
        (PAGE, "(N = 512)", "(N = 5,120)", "N = 5,120 is not in"),
        (f"{PAIRED}/gamma.csv", "2.520,0.571,4.469", "-2.520,0.571,4.469", "not fit together"),
        ("pxp.md", "45.8 % [38.3, 53.2]", "48.5 % [38.3, 53.2]", "48.5 % [38.3, 53.2] is not in"),
        ("../README.md", "0.180 [0.161, 0.198]", "0.150 [0.131, 0.168]", "0.150 [0.131, 0.168]"),
        ("../studies/registered/figures.csv", ",n,n,n,n,n,", ",n,n,n,n,p,", "comes out"),
    ],
)  # fmt: skip
def test_what_is_falsified_is_found(docs: Path, file: str, old: str, new: str, what: str) -> None:
    change(docs / file, old, new)
    wrong = check(docs)[1]
    assert any(what in one for one in wrong), wrong


def test_an_unchanged_copy_has_nothing_wrong(docs: Path) -> None:
    assert check(docs)[1] == []


def test_a_printed_number_is_a_rounded_one() -> None:
    assert stands("−1.7", [-1.719])
    assert stands("44", [0.4445], share=True)
    assert not stands("44", [0.4445])
    assert stands(".022", [-0.02179])
    assert not stands("1.8", [-1.719])
