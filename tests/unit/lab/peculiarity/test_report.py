"""The study's comparisons and its verdict, on outcomes made by hand; and the intervals that they
print."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from diffdescent.base.statistics import (
    holm,
    mean_difference,
    mean_of,
    paired_difference,
    share_difference,
    sign_test,
    wilson,
)
from diffdescent.lab.peculiarity.comparison import Paired, paired, table, write_table
from diffdescent.lab.peculiarity.counter import Readings
from diffdescent.lab.peculiarity.points import BASE, Point, default_points, momentum
from diffdescent.lab.peculiarity.study import Outcome
from diffdescent.lab.peculiarity.verdict import Group, Result, group_of, standings, verdict

NORMAL, ODD, NOTHING = (1, 2, 2, 0), (1, 2, 3, 0), (-1, -1, -1, -1)


def outcome(point: Point, odd: int, unreadable: int = 0, n: int = 100, shift: int = 0) -> Outcome:
    """``odd`` peculiar figures, then ``unreadable`` ones, the rest persons; moved on by ``shift``
    samples."""
    counts = np.array([ODD] * odd + [NOTHING] * unreadable + [NORMAL] * (n - odd - unreadable))
    why = [""] * odd + ["in pieces"] * unreadable + [""] * (n - odd - unreadable)
    order = np.roll(np.arange(n), shift)
    readings = Readings(counts[order], [why[i] for i in order])
    return Outcome(point, np.zeros((n, 32, 32), np.uint8), readings, np.zeros(n, np.int64))


TEACHERS = [outcome(Point(BASE, 1000), 40), outcome(Point("ddpm", 1000), 20)]


def test_a_point_is_compared_with_both_teachers_and_with_its_own_sampler() -> None:
    points = [
        Point("plms | momentum(beta=-0.3)", 20),
        Point("plms", 20),
        Point(BASE, 20),
        Point("plms", 20, "karras"),
    ]
    found = [outcome(p, odd) for p, odd in zip(points, (10, 30, 35, 5), strict=True)]
    rows = {r.point: r for r in table([*TEACHERS, *found])}
    against = rows[points[0]].against
    assert {name: (p.peculiar.here, p.peculiar.there) for name, p in against.items()} == {
        "teacher": (0, 30), "ancestral": (0, 10), "base": (0, 20)
    }  # fmt: skip
    assert rows[points[1]].against["base"].peculiar.there == 5  # plms against ddim
    assert set(rows[points[3]].against) == {"teacher", "ancestral"}  # no ddim on that grid
    assert set(rows[Point(BASE, 1000)].against) == {"ancestral"}


def test_pairs_are_counted_sample_by_sample() -> None:
    a, b = outcome(Point("plms", 10), 10, 5), outcome(Point(BASE, 10), 10, 0, n=60, shift=4)
    pair = paired(a, b)
    assert pair.peculiar.n == 60
    assert (pair.peculiar.here, pair.peculiar.there) == (4, 4)
    assert (pair.abnormal.here, pair.abnormal.there) == (5, 0)  # 0 … 14 against 4 … 13
    assert pair.abnormal.p == sign_test(5, 0)


def _result(odd: int, unreadable: int, others: int = 0) -> Result:
    points = [outcome(Point(momentum(-0.3), 20), odd, unreadable)]
    points += [outcome(Point(momentum(-0.1 * (k + 1)), 50), 40) for k in range(others)]
    found = standings(table([*TEACHERS, *points]), Group.NEGATIVE_MOMENTUM, "teacher")
    return next(s.result for s in found if s.row.point.steps == 20)


def test_a_point_is_better_only_where_figures_do_not_become_unreadable_instead() -> None:
    assert _result(20, 0) is Result.FEWER
    assert _result(20, 20) is Result.FEWER  # unreadable, but those were peculiar before
    assert _result(20, 40) is Result.UNREADABLE_INSTEAD
    assert _result(40, 0) is Result.NO_DIFFERENCE
    assert _result(60, 0) is Result.MORE
    assert _result(40, 20) is Result.MORE


def test_one_lucky_point_of_many_is_no_discovery() -> None:
    assert _result(33, 0) is Result.FEWER  # 7 against 0: p = .016
    assert _result(33, 0, others=7) is Result.NO_DIFFERENCE


def test_the_verdict_says_which_way_it_fell() -> None:
    same = [outcome(Point(momentum(b), t), 40) for b in (-0.3, -0.8) for t in (10, 50)]
    text = verdict(table([*TEACHERS, *same]))
    assert "| momentum, β < 0 | the DDIM teacher | 0 | 0 | 0 | 4 |" in text
    assert "| momentum, β < 0 | the ancestral teacher | 0 | 0 | 4 | 0 |" in text
    width = -100 * paired_difference(0, 0, 100).low
    assert (
        "no point of 4 has fewer peculiar figures without more unreadable ones; what the intervals"
        in text
    )
    assert f"leave open is at most {width:.1f} points less" in text
    assert "0 % at 10, 0 % at 50" in text
    assert text.startswith("**Momentum does not go below the teachers: none of 4 points")
    assert "does not approach" in text
    better = verdict(table([*TEACHERS, *same, outcome(Point(momentum(-0.5), 20), 12)]))
    assert "1 of 5 points have fewer peculiar figures and no more unreadable ones" in better
    assert "`ddim | momentum(beta=-0.5)` with 20 steps: -28.0 points" in better
    assert "28 % at 20" in better
    assert better.startswith("**Momentum goes below a teacher at 1 of 5 points.**")
    nearer = verdict(
        table(
            [
                *TEACHERS,
                outcome(Point(momentum(0.2), 10), 30),
                outcome(Point(momentum(0.2), 50), 38),
            ]
        )
    )
    assert "momentum with β > 0 approaches the DDIM teacher" in nearer
    assert "10 % are peculiar in one of the two alone at 10 steps, 2 % at 50" in nearer
    alone = verdict(table(TEACHERS))
    assert alone == "**No momentum next to a teacher yet, so there is no verdict.**"
    assert (
        standings(table(TEACHERS), Group.OTHER, "teacher") == []
    )  # a teacher is no sampler under test


def test_the_table_has_every_comparison(tmp_path: Path) -> None:
    rows = table([*TEACHERS, outcome(Point(momentum(-0.3), 20), 30, 5)])
    write_table(rows, tmp_path / "t.csv")
    found = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    line = next(r for r in found if r["steps"] == "20")
    pair = rows[-1].against["teacher"] if rows[-1].point.steps == 20 else next(
        r.against["teacher"] for r in rows if r.point.steps == 20)  # fmt: skip
    assert isinstance(pair, Paired)
    assert (line["teacher_only_here"], line["teacher_only_there"], line["base_p"]) == (
        "0",
        "10",
        "",
    )
    assert float(line["teacher_difference"]) == pytest.approx(-0.1)
    assert float(line["teacher_low"]) == pytest.approx(pair.peculiar.difference.low, abs=1e-4)
    assert line["teacher_abnormal_only_there"] == "5"
    assert float(line["ancestral_difference"]) == pytest.approx(0.1)


def test_the_study_has_what_it_is_to_compare() -> None:
    points = default_points()
    assert len(set(points)) == len(points)
    assert {p for p in points if p.steps == 1000} == {Point(BASE, 1000), Point("ddpm", 1000)}
    betas = {
        p.recipe
        for p in points
        if p.recipe.startswith("ddim | m") and p.steps == 20 and "uniform" in p.grid
    }
    assert betas == {momentum(b) for b in (-0.8, -0.5, -0.3, -0.1, 0.1, 0.2, 0.5, 0.8)}
    assert {p.base for p in points if p.steps < 1000} <= set(
        points
    )  # nothing is without its partner
    assert group_of(Point(BASE, 20)) is None
    assert group_of(Point("ge(gamma=2)", 20)) is Group.ESTIMATION
    assert group_of(Point("plms", 20)) is Group.OTHER
    assert group_of(Point("plms | momentum(-0.3)", 20)) is Group.NEGATIVE_MOMENTUM
    assert group_of(Point(momentum(0.2, "plms"), 20)) is Group.POSITIVE_MOMENTUM


def test_intervals_of_differences_cover_as_often_as_they_say() -> None:
    """Simulated pairs and shares: 95 % intervals hold the truth in 93 to 97.5 % of 2,000 draws."""
    rng = np.random.default_rng(0)
    n, here, there = 80, 0.15, 0.05
    held = 0
    for a, b, _ in rng.multinomial(n, (here, there, 1 - here - there), 2000):
        gap = paired_difference(int(a), int(b), n)
        held += gap.low <= here - there <= gap.high
    assert 0.93 <= held / 2000 <= 0.975
    held = 0
    for a, b in zip(rng.binomial(60, 0.1, 2000), rng.binomial(90, 0.3, 2000), strict=True):
        gap = share_difference(wilson(int(a), 60), wilson(int(b), 90))
        held += gap.low <= -0.2 <= gap.high
    assert 0.93 <= held / 2000 <= 0.975
    zero = paired_difference(0, 0, 50)
    assert zero.low < 0 < zero.high
    assert zero.value == 0


def test_means_have_the_usual_intervals() -> None:
    a, b = np.array([1.0, 2.0, 3.0, 6.0]), np.array([2.0, 4.0])
    mean = mean_of(a)
    assert (mean.value, mean.high - mean.value) == (
        3.0,
        pytest.approx(1.959964 * a.std(ddof=1) / 2),
    )
    gap = mean_difference(a, b)
    assert gap.value == 0
    assert gap.high == pytest.approx(1.959964 * np.sqrt(a.var(ddof=1) / 4 + 1))
    assert mean_of(np.array([2.0])).high == np.inf


def test_holm_against_its_definition() -> None:
    ps = [0.04, 0.001, 0.03, 0.5]
    assert holm(ps) == pytest.approx([0.09, 0.004, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
