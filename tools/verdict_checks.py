"""What a page says against what a table says: a sentence's verdict and numbers, computed again."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tools.verdict_numbers import Cells, Extreme, Number
from tools.verdict_tables import Row, Tables, selected

from diffdescent.base.statistics import Estimate, holm, normal_test, sign_test, student_test

LEVEL = 0.05
TESTS = {
    "paired": "paired difference, normal",
    "student": "paired difference, Student's t",
    "mcnemar": "McNemar, exact",
    "sign": "sign test, exact",
    "difference": "difference of independent groups, normal",
    "apart": "two values and their intervals as if independent, normal",
    "ratio": "a ratio and its interval against 1, normal",
    "zero": "a value and its interval against 0, normal",
    "stratified": "Mantel and Haenszel, over the species",
    "equivalence": "two one-sided tests within the margin",
    "order": "none: which number is larger",
    "none": "none: numbers alone",
}
PAIRS = ("apart", "order")
UNTESTED = ("order", "none")


@dataclass(frozen=True)
class Statement:
    """What a page says, and the rows of a table that decide it.

    ``text`` is a template of the sentence: ``{0.interval:1}`` is the first of its rows with its
    interval and one decimal (:mod:`tools.verdict_numbers`), ``{n}``, ``{tests}``, ``{higher}``,
    ``{lower}``, ``{undecided}``, ``{independent}``, ``{clear}`` (intervals without 0) are counts,
    ``{p:e}`` the greatest p, ``{least.NAME:2}`` and ``{most.NAME:2}`` extremes. ``family`` and each
    of ``rows`` select rows; each value of the column ``within`` makes a family of its own. Under
    ``apart`` and ``order`` each of ``rows`` is a pair of selections of equally many rows, or of
    many and one. ``columns`` is a prefix of the columns that are tested, ``expect`` the outcome of
    all, or how many have which.
    """

    page: str
    text: str
    table: str
    test: str = "paired"
    family: Mapping[str, Any] = field(default_factory=dict)
    within: str = ""
    rows: Sequence[Any] = ({},)
    columns: str = ""
    expect: str | Mapping[str, int] = "undecided"
    n: int | None = None
    called: str = ""


@dataclass(frozen=True)
class Verdict:
    """A statement with its rows' outcomes, ``higher``, ``lower`` or ``undecided``, their corrected
    p, how many ``tests`` its family has, and the sentence as the tables would have it."""

    statement: Statement
    outcomes: tuple[str, ...]
    ps: tuple[float, ...]
    tests: int
    n: str
    text: str

    @property
    def counts(self) -> Counter[str]:
        """How many rows came out how."""
        return Counter(self.outcomes)


def corrected(one: Statement, rows: Sequence[Row]) -> list[tuple[float, float]]:
    """(difference, p after Holm's correction) of each row of a family."""
    found = [_tested(one, row) for row in rows]
    groups: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        groups[row[one.within] if one.within else ""].append(i)
    ps = dict(
        pair
        for group in groups.values()
        for pair in zip(group, holm([found[i][1] for i in group]), strict=True)
    )
    return [(gap, ps[i]) for i, (gap, _) in enumerate(found)]


def _tested(one: Statement, row: Row) -> tuple[float, float]:
    if one.test == "none":
        return 0.0, 1.0
    if one.test == "mcnemar":
        here, there = (int(row[f"{one.columns}only_{side}"]) for side in ("here", "there"))
        return float(here - there), sign_test(here, there)
    if one.test == "sign":
        up = round(float(row[one.columns]) * int(row["n"]))
        return up - int(row["n"]) / 2, sign_test(up, int(row["n"]) - up)
    if one.test in ("stratified", "equivalence"):
        return float(row["difference"]), float(row["p"])
    one_value, zero = one.test in ("ratio", "zero"), float(one.test == "ratio")
    ends = (float(row[f"{one.columns}{end}"]) - zero for end in ("low", "high"))
    named = f"{one.columns}difference"
    value = row["value"] if one_value else row.get(named) or row["difference"]
    gap = Estimate(float(value) - zero, *ends)
    if one.test == "student":
        return gap.value, student_test(replace(gap, n=int(row["n"])))
    return gap.value, normal_test(gap)


def _pair(one: Statement, a: Row, b: Row) -> tuple[float, float]:
    name = one.columns
    value = float(a[name or "value"]) - float(b[name or "value"])
    if one.test == "order":
        return value, 0.0
    low, high = (f"{name}_{end}" if name else end for end in ("low", "high"))
    half = math.hypot(*((float(row[high]) - float(row[low])) / 2 for row in (a, b)))
    return value, normal_test(Estimate(value, value - half, value + half))


def decide(one: Statement, tables: Tables) -> Verdict:
    """Test the rows of a statement within its family. ValueError where it selects nothing."""
    if one.test in PAIRS:
        pairs = [found for pair in one.rows for found in _pairs(one.table, pair, tables)]
        rows = [row for pair in pairs for row in pair]
        found = [_pair(one, a, b) for a, b in pairs]
        adjusted = holm([p for _, p in found])
        decided = [(gap, p) for (gap, _), p in zip(found, adjusted, strict=True)]
        tests = len(pairs)
        outcomes = tuple(_direction(gap, p) for gap, p in decided)
    else:
        family = tables.select(one.table, one.family)
        every = corrected(one, family)
        order = [i for wanted in one.rows for i in _positions(family, wanted)]
        rows, decided = [family[i] for i in order], [every[i] for i in order]
        tests = len(family)
        outcomes = tuple(
            _equivalent(row, p) if one.test == "equivalence" else _direction(gap, p)
            for row, (gap, p) in zip(rows, decided, strict=True)
        )
    ps = tuple(p for _, p in decided)
    n = _n(one, tables, rows)
    counts = Counter(outcomes)
    words = {name: Number(counts[name]) for name in ("higher", "lower", "undecided")}
    clear = sum(float(r["low"]) * float(r["high"]) > 0 for r in rows if r.get("low"))
    text = one.text.format(
        *map(Cells, rows), n=n, tests=Number(tests), rows=Number(len(rows)), clear=Number(clear),
        independent=Number(_independent(rows)), p=Number(max(ps)), least=Extreme(rows, min),
        most=Extreme(rows, max), **words,
    )  # fmt: skip
    return Verdict(one, outcomes, ps, tests, n, text)


def _pairs(table: str, pair: Sequence[Any], tables: Tables) -> Iterator[tuple[Row, Row]]:
    """The rows of two selections side by side; where the second has one row, it with each."""
    first, second = (tables.select(table, side) for side in pair)
    return zip(first, second * len(first) if len(second) == 1 else second, strict=True)


def _positions(family: Sequence[Row], wanted: Mapping[str, Any]) -> list[int]:
    found = [i for i, row in enumerate(family) if selected(row, wanted)]
    if not found:
        raise ValueError(f"selects no row of its table by {dict(wanted)}")
    return found


def _n(one: Statement, tables: Tables, rows: Sequence[Row]) -> str:
    """The number of images: as given, the rows' own, or those of the study."""
    if one.n is not None:
        return f"{one.n:,}"
    name = one.table.replace("results/paired/", "results/")
    source = rows if name == one.table else tables.read(name)
    for column in ("n", "images"):
        found = sorted({int(float(row[column])) for row in source if row.get(column)})
        if found:
            return " to ".join(f"{k:,}" for k in dict.fromkeys((found[0], found[-1])))
    return "–"


def _independent(rows: Sequence[Row]) -> int:
    """How many of the orderings do not follow from others: k − 1 of the k(k − 1)/2 of k rows."""
    joined: dict[tuple[str, ...], tuple[str, ...]] = {}

    def root(x: tuple[str, ...]) -> tuple[str, ...]:
        while joined.get(x, x) != x:
            x = joined[x]
        return x

    count = 0
    for row in rows:
        a, b = (root((row.get("family", ""), row.get("where", ""), row.get(k, ""))) for k in "ab")
        count += a != b
        joined[a] = b
    return count


def _direction(difference: float, p: float) -> str:
    return "undecided" if p > LEVEL or not difference else "higher" if difference > 0 else "lower"


def _equivalent(row: Row, p: float) -> str:
    low, high, margin = (float(row[name]) for name in ("low", "high", "margin"))
    outside = low > margin or high < -margin
    return "equivalent" if p <= LEVEL else "not equivalent" if outside else "undecided"


def wrong(found: Verdict, page: str) -> Iterator[str]:
    """What is not as the page says."""
    one = found.statement
    if _joined(found.text) not in _joined(page):
        yield "is not on the page"
    expect = {one.expect: len(found.outcomes)} if isinstance(one.expect, str) else one.expect
    if one.test != "none" and {k: v for k, v in expect.items() if v} != dict(found.counts):
        yield f"should come out {dict(expect)} and comes out {dict(found.counts)}"


def _joined(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
