"""Grids: published values, independent formulas, explicit ends, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import diffdescent as dd
from diffdescent.core.grid import (
    GRIDS,
    Grid,
    explicit,
    explicit_ratios,
    from_ratios,
    from_times,
    make_grid,
    register,
)
from diffdescent.core.recipe import parse_grid

LINEAR = dd.VP.named("linear")


def test_log_linear_indices_of_the_paper() -> None:
    """Permenter and Yuan 2024: CIFAR-10 at N = 10, and the ends for N = 5, 10, 20, 50."""
    assert make_grid("loglinear", LINEAR, 10).t.tolist() == [
        853,
        765,
        665,
        549,
        415,
        271,
        149,
        73,
        33,
        14,
        0,
    ]
    for steps, last in ((5, 0.0851), (10, 0.0585), (20, 0.0420), (50, 0.0282)):
        free = make_grid("loglinear", LINEAR, steps, snap=False)
        assert free.ratio[-2] == pytest.approx(last, rel=2e-3)
        assert free.ratio[0] == pytest.approx(40, rel=1e-9)
        assert free.ratio[-1] == pytest.approx(0.0100005, rel=1e-6)


def test_the_released_schedulers_rule() -> None:
    scaled = dd.VP.named("scaled_linear")
    grid = make_grid("loglinear", scaled, 10, rule="released")
    assert grid.t.tolist() == [901, 830, 751, 663, 566, 461, 353, 252, 166, 100, 0]


def test_karras_formula() -> None:
    grid = make_grid("karras", dd.VE(), 18)
    i = np.arange(18)
    expected = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(grid.sigma[:-1], expected, rtol=1e-12)
    assert grid.sigma[-1] == 0
    assert np.all(grid.alpha == 1)


def test_exponential_and_logsnr_are_uniform_in_lambda() -> None:
    steps = np.diff(make_grid("exponential", LINEAR, 12, end=0.001).lam[:-1])
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
    grid = make_grid("logsnr", LINEAR, 12)
    np.testing.assert_allclose(np.diff(grid.lam), np.diff(grid.lam)[0], rtol=1e-9)
    assert grid.ratio[-1] == pytest.approx(float(LINEAR.ratio(0)))


def test_beta_quantiles_against_scipy() -> None:
    for a, b in ((0.6, 0.6), (2.0, 1.3)):
        grid = make_grid("beta", LINEAR, 25, a=a, b=b, snap=False)
        expected = 999 * stats.beta.ppf(1 - np.arange(25) / 25, a, b)
        np.testing.assert_allclose(grid.t[:-1], expected, rtol=1e-9, atol=1e-9)


def test_uniform_spacings() -> None:
    assert make_grid("uniform", LINEAR, 4).t.tolist() == [750, 500, 250, 0, -1]
    assert make_grid("uniform", LINEAR, 4, offset=1).t.tolist() == [751, 501, 251, 1, -1]
    assert make_grid("uniform", LINEAR, 4, spacing="trailing").t.tolist() == [
        999,
        749,
        499,
        249,
        -1,
    ]
    assert make_grid("uniform", LINEAR, 4, spacing="linspace").t.tolist() == [999, 666, 333, 0, -1]
    assert make_grid("uniform", LINEAR, 3, spacing="linspace", open=True).t.tolist() == [
        999,
        666,
        333,
        -1,
    ]
    assert make_grid("simple", LINEAR, 3).t.tolist() == [999, 666, 333, -1]


def test_align_your_steps_is_the_published_table_at_ten_steps() -> None:
    grid = make_grid("ays", dd.VP.named("scaled_linear"), 10)
    np.testing.assert_allclose(
        grid.ratio[:-1],
        [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152],
        rtol=1e-9,
    )


def test_flow_shift_and_start() -> None:
    grid = make_grid("uniform", dd.Flow(shift=3.0), 4, spacing="trailing")
    t = np.array([1, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(grid.t, [*(3 * t / (1 + 2 * t)), 0])
    assert grid.alpha[0] == 0


@pytest.mark.parametrize("name", sorted(GRIDS.keys() - {"explicit"}))
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_every_grid_falls_and_its_levels_belong_to_the_process(name: str, steps: int) -> None:
    grid = make_grid(name, LINEAR, steps)
    assert np.all(np.diff(grid.ratio) < 0)
    assert grid.steps == steps or grid.notes
    np.testing.assert_allclose(grid.alpha**2 + grid.sigma**2, 1, rtol=1e-12)
    inside = (grid.t >= 0) & (grid.ratio < LINEAR.ratio(999)) & (grid.ratio > LINEAR.ratio(0))
    np.testing.assert_allclose(LINEAR.ratio(grid.t)[inside], grid.ratio[inside], rtol=1e-9)


@pytest.mark.parametrize(
    "name", ["uniform", "karras", "loglinear", "quadratic", "beta", "simple", "exponential"]
)
def test_the_end_is_what_was_asked(name: str) -> None:
    for end, ratio in (("zero", 0.0), ("first", float(LINEAR.ratio(0))), (0.05, 0.05)):
        grid = make_grid(name, LINEAR, 8, end=end)
        assert grid.ratio[-1] == pytest.approx(ratio, rel=1e-12)
        assert np.all(grid.ratio[:-1] > ratio)


def test_levels_below_the_end_are_removed_and_reported() -> None:
    grid = make_grid("uniform", LINEAR, 10, end="first")
    assert grid.steps == 9
    assert "1 level(s) at or below the end" in grid.notes[0]


def test_reversed_grids_and_tails() -> None:
    grid = make_grid("karras", dd.VE(), 5, end=0.001)
    back = grid.reversed()
    assert not back.descending
    assert np.array_equal(back.reversed().ratio, grid.ratio)
    assert np.array_equal(grid.tail(2).t, grid.t[2:])


def test_grids_are_immutable() -> None:
    grid = make_grid("karras", dd.VE(), 5)
    with pytest.raises(ValueError, match="read-only"):
        grid.sigma[0] = 3


def test_inner_points_belong_to_the_process() -> None:
    grid = make_grid("karras", LINEAR, 5)
    point = grid.at_ratio(1.0)
    assert (point.alpha, point.sigma) == pytest.approx((math.sqrt(0.5), math.sqrt(0.5)))
    assert grid.at_time(500.0) == LINEAR.point(500.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: explicit(LINEAR, [10, 20, 5]), "monotone"),
        (lambda: explicit(LINEAR, [10, 10]), "monotone"),
        (
            lambda: make_grid("explicit", dd.VE(), 2, t=(80.0, 1.0, -1.0)),
            "between 0 .the data. and",
        ),
        (lambda: make_grid("admissible", LINEAR, 4, last=0), "must be finite and positive"),
        (lambda: make_grid("admissible", dd.Flow(), 4, eta=0), "give start="),
        (lambda: make_grid("quadratic", LINEAR, 4, fraction=1.5), r"lie in \(0, 1\]"),
        (lambda: make_grid("beta", LINEAR, 4, a=0), "must be finite and positive"),
        (lambda: explicit(LINEAR, [10]), "at least two levels"),
        (lambda: explicit_ratios(LINEAR, [5.0, 1.0, 1.0]), "step 1"),
        (lambda: make_grid("uniform", LINEAR, 10, offset=200), "past 999"),
        (lambda: make_grid("karras", dd.Flow(), 10), "give start="),
        (lambda: make_grid("loglinear", LINEAR, 10, rule="other"), "halfway"),
        (lambda: make_grid("logsnr", LINEAR, 10, start=0.1, last=3), "lowest"),
        (lambda: make_grid("uniform", LINEAR, 1, end=1e9), "lower end="),
        (lambda: make_grid("ddim", LINEAR, 5, start=0.0), "must be positive"),
    ],
)
def test_mistakes(call: object, words: str) -> None:
    with pytest.raises(dd.UserError, match=words):
        call()  # type: ignore[operator]


def test_shapes_must_agree() -> None:
    with pytest.raises(dd.UserError, match="shapes"):
        Grid(LINEAR, np.zeros(3), np.zeros(3), np.zeros(2))


@pytest.mark.parametrize("process", [dd.VE(), LINEAR, dd.Flow(t_max=0.99)], ids=repr)
def test_levels_that_rise_are_refused(process: dd.VE) -> None:
    times = process.t_of_ratio(np.array([5.0, 0.5, 1.0, 2.0]))
    with pytest.raises(dd.UserError, match=r"'mine' rise at step 1, .* in falling order"):
        from_times(process, times, "zero", "mine")
    for snap in (False, True):
        with pytest.raises(dd.UserError, match=r"'mine' rise at step 1, .* in falling order"):
            from_ratios(process, np.array([5.0, 0.5, 1.0, 2.0]), "zero", "mine", snap)


@pytest.mark.parametrize(("process", "beyond"), [(LINEAR, 1000.0), (dd.Flow(t_max=0.99), 1.0)])
def test_times_beyond_a_bounded_process_are_refused(process: dd.VP, beyond: float) -> None:
    low = process.t_min
    with pytest.raises(dd.UserError, match=r"Times must lie between .* \(the data\) and"):
        from_times(process, np.array([beyond, low]), "zero", "mine")
    with pytest.raises(dd.UserError, match=r"Times must lie between"):
        from_times(process, np.array([process.t_max, low - 3]), "zero", "mine")
    assert from_times(process, np.array([process.t_max]), "zero", "mine").steps == 1
    free = dd.VE()
    assert from_times(free, np.array([2 * free.t_max, 1.0]), "zero", "mine").steps == 2


def test_an_option_without_an_annotation() -> None:
    def mine(process: dd.VE, steps: int, *, start=80) -> Grid:  # type: ignore[no-untyped-def]
        raise AssertionError

    with pytest.raises(dd.UserError, match=r"'start' of mine has no annotation, .* start: float"):
        register("mine")(mine)
    assert "mine" not in GRIDS


def test_a_builder_that_returns_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GRIDS, "mine", lambda process, steps: np.ones(steps))  # type: ignore[arg-type]
    with pytest.raises(dd.UserError, match="'mine' must return a Grid, not ndarray; end it with"):
        make_grid("mine", dd.VE(), 3)


def test_a_time_that_float32_rounded_is_the_last_one() -> None:
    for t in (999.00006, float(np.float32(999) * (1 + np.float32(6e-8)))):
        assert explicit(LINEAR, [t, 500, 0]).t[0] == 999.0
    with pytest.raises(dd.UserError, match=r"not 0 … 999\.01\."):
        explicit(LINEAR, [999.01, 0])
    with pytest.raises(dd.UserError, match="Times must lie between"):
        explicit(LINEAR, [np.nan, 0])


def test_snapping_up_takes_the_first_index_that_is_at_least_as_noisy() -> None:
    options = {"start": 80.0, "last": 0.002, "end": "first"}
    exact = make_grid("karras", LINEAR, 9, **options, snap=False).ratio[:-1]
    up = make_grid("karras", LINEAR, 9, **options, snap="up")
    table = LINEAR.ratio(LINEAR.trained_times)
    expected = [int(np.argmax(table >= r)) for r in exact if r > table[0]]
    assert up.t[:-1].tolist() == expected
    assert up.steps == 8
    assert (up.t != make_grid("karras", LINEAR, 9, **options, snap=True).t).any()
    with pytest.raises(dd.UserError, match="true or false or 'up'"):
        make_grid("karras", LINEAR, 9, snap="down")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("loglinear", "loglinear"),
        ("loglinear(40, rule=released)", "loglinear(start=40.0, rule=released)"),
        ("loglinear(start=8.35, rule=halfway)", "loglinear(start=8.35)"),
        ("uniform(trailing)", "uniform(spacing=trailing)"),
        ("sgm_uniform", "uniform(spacing=linspace, open=true, snap=false)"),
        ("karras(snap=up, end=0.02)", "karras(snap=up, end=0.02)"),
        ("ays(sdxl)", "ays(model=sdxl)"),
        ("explicit(t=[999, 500, 0])", "explicit"),
    ],
)
def test_a_grid_is_called_by_the_text_that_makes_it(text: str, name: str) -> None:
    grid = parse_grid(text, LINEAR, 6)
    assert grid.name == name
    if name != "explicit":
        again = parse_grid(grid.name, LINEAR, 6)
        assert (again.name, again.ratio.tolist()) == (name, grid.ratio.tolist())
