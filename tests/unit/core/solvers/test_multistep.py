"""Adams, DEIS, PNDM and Analytic-DPM: relations between the methods, evaluation counts, and the
ends of a grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.core.executor import Executor
from diffdescent.core.grid import Grid, explicit, make_grid
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import VE, VP, Flow, Process, VPContinuous
from diffdescent.core.solvers import Solver
from diffdescent.core.solvers.adams import IPNDM, LMS, PLMS, AdamsBashforth
from diffdescent.core.solvers.analytic import Analytic
from diffdescent.core.solvers.ddim import DDIM
from diffdescent.core.solvers.deis import DEIS
from diffdescent.core.solvers.gamma import Gamma, estimate_gamma
from diffdescent.core.solvers.pndm import PNDM
from diffdescent.core.solvers.quadrature import ADAMS_BASHFORTH, gauss, lagrange, left_sum
from diffdescent.core.solvers.runge_kutta import TABLEAUS, RhoRK
from diffdescent.core.transforms.threshold import Threshold

MEAN, VARIANCE = 0.3, 0.25


def table(plan: Plan) -> list[list[float]]:
    return [
        [o.base, o.current, *o.evals, *[0.0] * (4 - len(o.evals))]
        for row in plan.rows
        for o in row.outputs
    ]


def same(a: Plan, b: Plan) -> bool:
    return np.allclose(table(a), table(b), rtol=1e-9, atol=1e-12)


def solve(solver: Solver, grid: Grid) -> float:
    """Largest error against the exact flow map of N(MEAN, VARIANCE), relative to the result; v-like
    network."""
    first, last = grid.points[0], grid.points[-1]
    spread = [math.hypot(p.alpha * math.sqrt(VARIANCE), p.sigma) for p in (first, last)]
    z = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    machine = Executor(solver.plan(grid), first.alpha * MEAN + spread[0] * z, dtype=torch.float64)
    while not machine.done:
        query = machine.ask()
        a, s = query.at.alpha, query.at.sigma
        scaled = (query.x - a * MEAN) / (a * a * VARIANCE + s * s)
        machine.tell(
            Prediction(s * scaled - (MEAN + a * VARIANCE * scaled), conversion("flow", query.at))
        )
    expected = last.alpha * MEAN + spread[1] * z
    return float((machine.x - expected).abs().max() / expected.abs().max())


VP_GRID = make_grid("karras", VP.named(), 8, end=0.01)
UNIFORM = explicit(VE(), np.linspace(10, 1, 10))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_on_equal_steps_the_real_coefficients_are_the_fixed_ones(order: int) -> None:
    assert same(AdamsBashforth(order).plan(UNIFORM), IPNDM(order).plan(UNIFORM))
    assert same(DEIS(order, "tab").plan(UNIFORM), IPNDM(order).plan(UNIFORM))  # VE's time is σ̃


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_rho_ab_is_adams_bashforth(order: int) -> None:
    assert same(DEIS(order, "rhoab").plan(VP_GRID), AdamsBashforth(order).plan(VP_GRID))


def test_names_for_the_same_method() -> None:
    assert same(LMS().plan(VP_GRID), AdamsBashforth(4).plan(VP_GRID))
    assert same(PLMS().plan(VP_GRID), IPNDM(4).plan(VP_GRID))
    plans = [
        s.plan(VP_GRID)
        for s in (PLMS(order=1), AdamsBashforth(1), DEIS(1), DEIS(1, "logrho"), RhoRK("euler"))
    ]
    assert all(same(plan, DDIM().plan(VP_GRID)) for plan in plans)


def test_evaluations() -> None:
    n = VP_GRID.steps
    counts = {
        PLMS(): n,
        PLMS("heun"): n + 1,
        PNDM(): n + 9,
        RhoRK("rk4"): 4 * n,
        RhoRK("heun2"): 2 * n,
        DEIS(): n,
    }
    for solver, count in counts.items():
        plan = solver.plan(VP_GRID)
        assert (plan.nfe, plan.steps) == (count, n)


def test_the_ddim_start_takes_three_first_order_steps() -> None:
    assert [row.order for row in PLMS("ddim").plan(VP_GRID).rows] == [1, 1, 1, 4, 4, 4, 4, 4]
    assert [row.order for row in PLMS().plan(VP_GRID).rows] == [1, 2, 3, 4, 4, 4, 4, 4]


def test_lower_order_final() -> None:
    orders = {
        "never": [1, 2, 3, 3, 3, 3, 3, 3],
        "always": [1, 2, 3, 3, 3, 3, 2, 1],
        "last": [1, 2, 3, 3, 3, 3, 3, 1],
    }
    for final, expected in orders.items():
        plan = DEIS(3, "logrho", lower_order_final=final).plan(VP_GRID)  # type: ignore[arg-type]
        assert [row.order for row in plan.rows] == expected


@pytest.mark.parametrize(
    "process", [VP.named(), VPContinuous(), Flow(), VE()], ids=lambda p: type(p).__name__
)
def test_integrals(process: Process) -> None:
    """tAB's exact rule against a fine left sum over time, and the weights' sum against σ̃_s −
    σ̃_t."""
    times = np.array([0.9, 0.75, 0.6, 0.5, 0.35]) * process.t_max
    grid = explicit(process, times)
    exact, riemann = DEIS(4).plan(grid), DEIS(4, points=200_000).plan(grid)
    assert np.allclose(table(exact), table(riemann), rtol=1e-4, atol=1e-4)
    for (src, dst), row in zip(pairwise(grid.points), exact.rows, strict=True):
        total = sum(row.outputs[0].evals) / dst.alpha
        assert total == pytest.approx(dst.ratio - src.ratio, rel=1e-12)


@pytest.mark.parametrize(
    "process", [VP.named(), VPContinuous(), Flow(), VE()], ids=lambda p: type(p).__name__
)
def test_ratio_slope(process: Process) -> None:
    t = (0.1 + 0.7 * np.random.default_rng(0).random(20)) * process.t_max
    h = 1e-6 * process.t_max
    numeric = (process.ratio(t + h) - process.ratio(t - h)) / (2 * h)
    assert np.allclose(process.ratio_slope(t), numeric, rtol=1e-5)


def test_quadrature_rules() -> None:
    rule = gauss((0.0, 1.0, 3.0), 2)
    assert rule.weights @ rule.points**3 == pytest.approx(3**4 / 4, rel=1e-14)
    backwards = gauss((3.0, 0.0), 2)
    assert backwards.weights @ backwards.points**3 == pytest.approx(-(3**4) / 4, rel=1e-14)
    left = left_sum(0.0, 1.0, 10)
    assert left.weights @ left.points == pytest.approx(0.45)
    nodes = (0.0, -1.0, -2.0, -3.0)
    assert np.allclose(lagrange(nodes, np.array(nodes)), np.eye(4))
    unit = gauss((0.0, 1.0), 2)
    for k in range(1, 5):
        assert np.allclose(
            lagrange(nodes[:k], unit.points) @ unit.weights, ADAMS_BASHFORTH[k - 1], atol=1e-14
        )


@pytest.mark.parametrize("method", TABLEAUS)
def test_tableau_conditions(method: str) -> None:
    """Σb = 1, Σbc = ½, Σbc² = ⅓ and Σb a c = ⅙, as far as the order asks."""
    tableau = TABLEAUS[method]
    n = len(tableau.b)
    a = np.zeros((n, n))
    for i, row in enumerate(tableau.a, start=1):
        a[i, : len(row)] = row
    b, c = np.array(tableau.b), np.array(tableau.c)
    conditions = [(b.sum(), 1), (b @ c, 1 / 2), (b @ c**2, 1 / 3), (b @ a @ c, 1 / 6)]
    for value, expected in conditions[: [0, 1, 2, 4, 4][tableau.order]]:
        assert value == pytest.approx(expected)


def zero_snr() -> VP:
    """The linear schedule with √ᾱ shifted and scaled to end at 0 (Lin et al. 2024, algorithm 1)."""
    root = np.sqrt(VP.named().alpha_bar)
    return VP.from_alpha_bar(((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2)


ENDS: list[Callable[[], Grid]] = [
    lambda: explicit(Flow(), np.linspace(1, 0, 31)),
    lambda: explicit(Flow(), np.linspace(1, 0, 31)).reversed(),
    lambda: make_grid("uniform", VP.named("cosine"), 30),
    lambda: make_grid("uniform", VP.named("cosine"), 30).reversed(),
    lambda: make_grid("uniform", zero_snr(), 30, spacing="trailing"),
    lambda: make_grid("karras", VE(), 30),
]
SOLVERS = [
    PLMS(),
    PLMS("ddim"),
    PLMS("heun"),
    IPNDM(3),
    AdamsBashforth(2),
    DEIS(2),
    DEIS(2, "logrho"),
    PNDM(),
    RhoRK("rk4"),
    RhoRK("heun2"),
]


@pytest.mark.parametrize(
    "grid", ENDS, ids=["flow", "flow back", "cosine", "cosine back", "zero SNR", "karras"]
)
@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_ends_at_infinite_and_zero_noise(solver: Solver, grid: Callable[[], Grid]) -> None:
    """From α = 0 and σ = 0 and to them, and better than first order."""
    assert solve(solver, grid()) < 0.5 * solve(DDIM(), grid())


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_few_steps(solver: Solver, steps: int) -> None:
    assert solve(solver, make_grid("uniform", VP.named(), steps)) < 2


def test_analytic_variance_of_gaussian_data() -> None:
    """For N(0, v) data and Γ of that data the step's marginal is exact: mean and variance of N(0,
    α²v + σ²)."""
    grid = explicit(VP.named(), [700, 500, 300, 100])
    for eta in (0.0, 0.5, 1.0):
        for row in Analytic(eta, data_std=0.5).plan(grid).rows:
            out = row.outputs[0]
            total = row.at.alpha**2 * 0.25 + row.at.sigma**2
            gain = out.base + out.evals[0] * row.at.sigma / total  # ε = σ x/(α² v + σ²)
            assert gain**2 * total + out.noise**2 == pytest.approx(
                out.point.alpha**2 * 0.25 + out.point.sigma**2
            )


def test_gamma_from_data() -> None:
    process = VP.named()
    torch.manual_seed(0)
    images = torch.randn(2000, 1, 4, 4) * 0.5

    class Gaussian:
        process = VP.named()
        shape = (1, 4, 4)

        def __call__(
            self, x: torch.Tensor, point: object, cond: torch.Tensor | None = None
        ) -> Prediction:
            a, s = point.alpha, point.sigma  # type: ignore[attr-defined]
            return Prediction(x * (s / (a * a * 0.25 + s * s)), conversion("eps", point))  # type: ignore[arg-type]

    gamma = estimate_gamma(Gaussian(), images, [900, 100, 500])
    assert gamma.t == (100, 500, 900)
    for t in gamma.t:
        p = process.point(t)
        data = p.alpha**2 * 0.25
        assert 1 - gamma(t) == pytest.approx(data / (data + p.sigma**2), rel=0.02)
    assert gamma(300) == pytest.approx((gamma(100) + gamma(500)) / 2)


def test_limited_variance_of_the_last_steps() -> None:
    grid = make_grid("uniform", VP.named(), 10)
    free, limited = (Analytic(clip_last=k).plan(grid) for k in (0, 2))
    limit = 2 * (2 / 255) * math.sqrt(math.pi / 2)
    noises = [[row.outputs[0].noise for row in plan.rows] for plan in (free, limited)]
    assert noises[0][:7] == noises[1][:7]
    assert noises[1][7:] == [min(noises[0][7], limit), min(noises[0][8], limit), 0.0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: PLMS("cold"),  # type: ignore[arg-type]
        lambda: PLMS(order=5),
        lambda: IPNDM(0),
        lambda: AdamsBashforth(5),
        lambda: DEIS(5),
        lambda: DEIS(variant="lagrange"),  # type: ignore[arg-type]
        lambda: DEIS(points=-1),
        lambda: DEIS(lower_order_final="maybe"),  # type: ignore[arg-type]
        lambda: DEIS(2).plan(make_grid("karras", VP.named(), 5, start=1000.0, last=300.0)),
        lambda: RhoRK("rk5"),
        lambda: Analytic(eta=2),
        lambda: Analytic(data_std=0),
        lambda: Analytic().plan(VP_GRID.reversed()),
        lambda: Gamma((0, 0), (1, 1)),
        lambda: Threshold(value=-1),
    ],
)
def test_bad_options(make: Callable[[], object]) -> None:
    with pytest.raises(UserError) as caught:
        make()
    assert "\n" not in str(caught.value)
