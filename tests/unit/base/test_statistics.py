"""Estimates: as text, as JSON, against each other; and the p-values that are made of them."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from diffdescent.base.errors import UserError
from diffdescent.base.statistics import (
    Z95,
    Estimate,
    mean_of,
    normal_test,
    percent,
    plus_minus,
    points,
    student95,
    student_mean,
    student_tails,
    student_test,
    wilson,
)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (Estimate(12.3456, 11, 13.98), "12.35 [11.00, 13.98]"),
        (Estimate(0.0123456), "0.01235"),
        (Estimate(math.nan, 1, 2), "–"),
        (wilson(1, 4), "25.0 % [4.6, 69.9]"),
    ],
)
def test_as_text(found: Estimate, text: str) -> None:
    assert str(found) == text


def test_other_forms() -> None:
    found = Estimate(-0.02, -0.051, 0.011)
    assert points(found) == "-2.0 points [-5.1, +1.1]"
    assert percent(found) == "-2.0 % [-5.1, 1.1]"
    assert plus_minus(found) == "-0.020 ± 0.031"
    assert found.bare() == "-0.02000"


def test_intervals_that_meet() -> None:
    one, two, far = Estimate(1, 0, 2), Estimate(3, 2, 4), Estimate(9, 8, 10)
    assert one.overlaps(two)
    assert two.overlaps(one)
    assert not one.overlaps(far)
    assert not one.overlaps(Estimate(1.0))
    assert one.contains(2)
    assert not one.contains(2.1)
    assert not Estimate(1.0).contains(1.0)
    cut = one.clipped(0.5, 1.5)
    assert (cut.value, cut.low, cut.high) == (1, 0.5, 1.5)


@pytest.mark.parametrize("found", [Estimate(1.5, 1, 2, n=7, level=0.9), Estimate(1.0)])
def test_through_json(found: Estimate) -> None:
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    again = Estimate.from_json(data)
    assert (again.value, again.n, again.level) == (found.value, found.n, found.level)
    assert (again.low, again.high) == pytest.approx((found.low, found.high), nan_ok=True)
    assert again.known == found.known


def test_a_difference_of_one_half_width_has_p_one_in_twenty() -> None:
    assert normal_test(Estimate(Z95, 0, 2 * Z95)) == pytest.approx(0.05)
    assert normal_test(Estimate(-Z95, -2 * Z95, 0)) == pytest.approx(0.05)
    assert normal_test(Estimate(1.0)) == 1
    assert normal_test(Estimate(1, 1, 1)) == 0
    assert normal_test(mean_of(np.array([-1.0, 1.0]))) == 1


def test_scipy_is_not_needed_to_import_it() -> None:
    code = "import sys; sys.modules['scipy'] = None; import diffdescent.base.statistics"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 15, 31, 1000])
def test_students_t_is_that_of_scipy(freedom: int) -> None:
    known = pytest.importorskip("scipy.stats").t(freedom)
    assert student95(freedom) == pytest.approx(known.ppf(0.975), abs=1e-9)
    for t in (0.0, 0.3, 2.5, 40.0):
        assert student_tails(t, freedom) == pytest.approx(2 * known.sf(t), abs=1e-12)


def test_a_mean_of_few_values_has_students_interval_and_test() -> None:
    stats = pytest.importorskip("scipy.stats")
    values = np.array([0.1, 0.5, -0.2, 0.9, 0.4])
    found, known = student_mean(values), stats.ttest_1samp(values, 0)
    assert (found.low, found.high) == pytest.approx(tuple(known.confidence_interval(0.95)))
    assert student_test(found) == pytest.approx(known.pvalue)
    assert student_mean(values[:1]).half_width == math.inf
    assert student_test(student_mean(values[:1])) == 1
    with pytest.raises(UserError, match="number of values"):
        student_test(Estimate(1.0, 0, 2))
