"""What a page says against what a table says: verdicts computed again, and numbers looked up."""

from __future__ import annotations

import csv
import functools
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tools.registered_tables import bundled, registered

from diffdescent.base.statistics import Estimate, holm, normal_test, sign_test

LEVEL = 0.05
Row = Mapping[str, str]
NUMBER = re.compile(r"(?<![\w.])[-−+]?(?:\d{1,3}(?:,\d{3})+|\d*\.?\d+)(?!\w)")
REGISTERED = "registered:"
"""Before the name of a registered study that stands for a table."""
BUNDLED = "bundled:"
"""Stands for what the bundled calibrated samplers' files say was measured."""
FLOAT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
TESTS = {
    "paired": "paired difference, normal",
    "mcnemar": "McNemar, exact",
    "sign": "sign test, exact",
    "difference": "difference of independent groups, normal",
    "zero": "a mean against 0, normal",
    "apart": "two values and their intervals as if independent, normal",
    "stratified": "Mantel and Haenszel, over the species",
    "equivalence": "two one-sided tests within the margin",
    "none": "none: numbers alone",
}


@dataclass(frozen=True)
class Statement:
    """What a page says, and the rows of a table that decide it.

    ``family`` and each of ``rows`` select rows by columns (a value, a list of values, a pattern
    with ``*``, all but one with ``!``); under ``apart`` each of ``rows`` is a pair of selections.
    ``columns`` is a prefix of the columns that are tested. ``expect`` is the outcome of all, or how
    many have which.
    """

    page: str
    text: str
    table: str
    test: str = "paired"
    family: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Any] = ({},)
    columns: str = ""
    expect: str | Mapping[str, int] = "undecided"
    given: Sequence[float] = ()
    n: int | None = None
    called: str = ""


@dataclass(frozen=True)
class Verdict:
    """A statement with its rows' outcomes, ``higher``, ``lower`` or ``undecided``, and their p in a
    family of ``tests``."""

    statement: Statement
    outcomes: tuple[str, ...]
    ps: tuple[float, ...]
    tests: int
    n: str
    numbers: tuple[float, ...]

    @property
    def counts(self) -> Counter[str]:
        """How many rows came out how."""
        return Counter(self.outcomes)


class Tables:
    """The committed tables, read once, below ``docs``."""

    def __init__(self, docs: Path) -> None:
        self.docs = docs
        self.read = functools.cache(self._read)

    def _read(self, name: str) -> list[dict[str, str]]:
        if name.startswith(REGISTERED):
            folder = self.docs.parent / "studies" / "registered"
            return registered(folder, name.removeprefix(REGISTERED))
        if name == BUNDLED:
            return bundled(self.docs.parent / "src" / "diffdescent" / "assets" / "calibrated")
        with (self.docs / name).resolve().open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def select(self, name: str, wanted: Mapping[str, Any]) -> list[Row]:
        """Rows whose columns are as wanted."""
        return [row for row in self.read(name) if _selected(row, wanted)]

    def n(self, one: Statement, rows: Sequence[Row]) -> str:
        """The number of images behind the statement: as given, its rows' own, or the study's."""
        if one.n is not None:
            return f"{one.n:,}"
        name = one.table.replace("results/paired/", "results/")
        rows = rows if name == one.table else self.read(name)
        for column in ("n", "images"):
            found = sorted({int(float(row[column])) for row in rows if row.get(column)})
            if found:
                return " to ".join(f"{k:,}" for k in dict.fromkeys((found[0], found[-1])))
        return "–"


def _selected(row: Row, wanted: Mapping[str, Any]) -> bool:
    return all(_matches(row.get(name, ""), value) for name, value in wanted.items())


def _matches(found: str, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return any(_matches(found, one) for one in wanted)
    text = str(wanted)
    if text.startswith("!"):
        return not _matches(found, text[1:])
    if FLOAT.fullmatch(found) and FLOAT.fullmatch(text):
        return float(found) == float(text)
    return found == text or ("*" in text and fnmatchcase(found, text.replace("[", "[[]")))


def _gap(row: Row, prefix: str) -> Estimate:
    difference = row.get(f"{prefix}difference") or row.get("difference") or row["value"]
    return Estimate(float(difference), float(row[f"{prefix}low"]), float(row[f"{prefix}high"]))


def _tested(one: Statement, row: Row) -> tuple[float, float]:
    """(difference, p) of a row by the statement's test."""
    if one.test == "mcnemar":
        here, there = (int(row[f"{one.columns}only_{side}"]) for side in ("here", "there"))
        return float(here - there), sign_test(here, there)
    if one.test == "sign":
        up = round(float(row[one.columns]) * int(row["n"]))
        return up - int(row["n"]) / 2, sign_test(up, int(row["n"]) - up)
    if one.test in ("stratified", "equivalence"):
        return float(row["difference"]), float(row["p"])
    gap = _gap(row, one.columns)
    return gap.value, normal_test(gap)


def _apart(one: Statement, a: Row, b: Row) -> tuple[float, float]:
    name = one.columns
    low, high = (name + end if name == "" else f"{name}_{end}" for end in ("low", "high"))
    value = float(a[name or "value"]) - float(b[name or "value"])
    half = math.hypot(*((float(row[high]) - float(row[low])) / 2 for row in (a, b)))
    return value, normal_test(Estimate(value, value - half, value + half))


def decide(one: Statement, tables: Tables) -> Verdict:
    """Test the rows of a statement within its family. ValueError where it selects nothing."""
    if one.test == "apart":
        pairs = [tuple(_only(tables.select(one.table, side)) for side in pair) for pair in one.rows]
        found = [_apart(one, a, b) for a, b in pairs]
        chosen, rows = list(range(len(pairs))), [row for pair in pairs for row in pair]
    else:
        family = tables.select(one.table, one.family)
        chosen = [i for i, row in enumerate(family) if any(_selected(row, w) for w in one.rows)]
        rows = [family[i] for i in chosen]
        found = [(0.0, 1.0) if one.test == "none" else _tested(one, row) for row in family]
    if not rows:
        raise ValueError("selects no row of its table")
    adjusted = holm([p for _, p in found])
    outcomes = tuple(
        _equivalent(row, adjusted[i])
        if one.test == "equivalence"
        else _direction(found[i][0], adjusted[i])
        for i, row in zip(chosen, rows, strict=one.test != "apart")
    )
    counted = list(Counter(outcomes).values())
    numbers = [*numbers_of(rows), *map(float, counted), float(len(found)), float(len(chosen))]
    ps = tuple(adjusted[i] for i in chosen)
    numbers += [*ps, *(found[i][0] for i in chosen)]
    return Verdict(one, outcomes, ps, len(found), tables.n(one, rows), tuple(numbers))


def _direction(difference: float, p: float) -> str:
    return "undecided" if p > LEVEL else "higher" if difference > 0 else "lower"


def _equivalent(row: Row, p: float) -> str:
    low, high, margin = (float(row[name]) for name in ("low", "high", "margin"))
    outside = low > margin or high < -margin
    return "equivalent" if p <= LEVEL else "not equivalent" if outside else "undecided"


def _only(rows: Sequence[Row]) -> Row:
    if len(rows) != 1:
        raise ValueError(f"selects {len(rows)} rows where one was meant")
    return rows[0]


def numbers_of(rows: Sequence[Row]) -> Iterator[float]:
    """Every number of the rows."""
    for value in (value for row in rows for value in row.values()):
        if FLOAT.fullmatch(value):
            yield float(value)


def stands(token: str, numbers: Sequence[float], share: bool = False) -> bool:
    """Whether a printed number is one of ``numbers``, rounded, as it is or, of a ``share``, in per
    cent."""
    digits = token.lstrip("-−+").replace(",", "")
    places = len(digits.partition(".")[2])
    near = 0.505 * 10.0**-places
    scales = (1, 100) if share else (1,)
    return any(abs(abs(x) * k - float(digits)) <= near for x in numbers for k in scales)


def shares(text: str) -> bool:
    """Whether a text speaks of shares."""
    return "%" in text or "points" in text


def plain(text: str) -> str:
    """Text without code, links' targets and line breaks."""
    return re.sub(r"\s+", " ", re.sub(r"`[^`]*`|\]\([^)]*\)|10⁻.", " ", text))


def wrong(one: Statement, found: Verdict, page: str) -> Iterator[str]:
    """What is not as the page says."""
    quote = re.sub(r"\s+", " ", one.text).strip()
    if quote not in re.sub(r"\s+", " ", page):
        yield "is not on the page"
    expect = {one.expect: len(found.outcomes)} if isinstance(one.expect, str) else one.expect
    if one.test != "none" and {k: v for k, v in expect.items() if v} != dict(found.counts):
        yield f"should come out {dict(expect)} and comes out {dict(found.counts)}"
    given = [*map(float, one.given), *map(float, re.findall(r"\d+", found.n.replace(",", "")))]
    for token in NUMBER.findall(plain(quote)):
        if not stands(token, (*found.numbers, *given), shares(quote)):
            yield f"says {token}, which is not in its rows"
