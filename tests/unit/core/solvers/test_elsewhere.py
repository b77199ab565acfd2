"""Options that solvers and grids have so that other libraries' samplers can be written down."""

from __future__ import annotations

import numpy as np
import pytest

from diffdescent.base.errors import UserError
from diffdescent.core.process import VP, Flow
from diffdescent.core.recipe import parse, parse_grid
from diffdescent.core.solvers.ddim import DDIM
from diffdescent.core.solvers.dpm import DPMpp
from diffdescent.core.solvers.edm import Euler
from diffdescent.core.solvers.pndm import PNDM

PROCESS = VP.named()


@pytest.mark.parametrize("eta", [0.4, 1.0])
def test_euler_with_noise_is_ddim_to_the_bit(eta: float) -> None:
    grid = parse_grid("karras", PROCESS, 9)
    assert Euler(eta=eta).plan(grid).rows == DDIM(eta).plan(grid).rows
    assert Euler(eta=eta).stochastic


def test_euler_draws_one_kind_of_noise() -> None:
    for options in ({"s_churn": 2.0}, {"clock": "time"}):
        with pytest.raises(UserError, match="leave s_churn and clock out"):
            Euler(eta=1.0, **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="eta"):
        Euler(eta=1.5)


def test_released_pndm_halves_whole_timesteps() -> None:
    """Steps of 125: the state goes to t − 62, the network is asked at s + 62; steps of 100 are the
    same in both."""
    grid = parse_grid("uniform(spacing=leading, end=first)", PROCESS, 8)
    exact, released = (PNDM(released=r).plan(grid).rows for r in (False, True))
    assert [r.at.t for r in exact[:3]] == [875, 812.5, 812.5]
    assert [r.at.t for r in released[:3]] == [875, 812, 812]
    out, src = released[0].outputs[0], grid.points[0]
    reached = PROCESS.point(875 - 62)
    assert out.base == pytest.approx(reached.alpha / src.alpha, rel=1e-12)
    assert out.point.t == 812
    even = parse_grid("uniform(spacing=leading, end=first)", PROCESS, 10)
    assert PNDM(released=True).plan(even).rows == PNDM().plan(even).rows


def test_released_pndm_needs_whole_timesteps() -> None:
    with pytest.raises(UserError, match="whole timesteps"):
        parse("pndm(released=true)").plan(parse_grid("uniform", Flow(), 8))


@pytest.mark.parametrize(("steps", "last"), [(14, [3, 2, 1]), (15, [3, 3, 3])])
def test_diffusers_lowers_the_order_below_fifteen_steps(steps: int, last: list[int]) -> None:
    grid = parse_grid("uniform(spacing=linspace, open=true, end=first)", PROCESS, steps)
    rows = DPMpp(order=3, lower_order_final="diffusers").plan(grid).rows
    assert [row.order for row in rows[-3:]] == last


def test_ratios_are_linear_between_trained_levels() -> None:
    text = "uniform(spacing=linspace, snap=false{})"
    grid = parse_grid(text.format(", interpolation=linear"), PROCESS, 20)
    trained = PROCESS.ratio(np.arange(1000))
    t = np.linspace(999, 0, 20)
    assert np.allclose(grid.ratio[:-1], np.interp(t, np.arange(1000), trained), rtol=1e-12)
    assert np.array_equal(grid.t, parse_grid(text.format(""), PROCESS, 20).t)
    assert not np.allclose(grid.ratio, parse_grid(text.format(""), PROCESS, 20).ratio, rtol=1e-6)
    whole = "uniform(spacing=trailing{})"
    snapped = parse_grid(whole.format(", interpolation=linear"), PROCESS, 20)
    assert np.allclose(snapped.ratio, parse_grid(whole.format(""), PROCESS, 20).ratio, rtol=1e-12)
