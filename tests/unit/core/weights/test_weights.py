"""Effective weights: they reproduce real runs, and have their closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import diffdescent as dd
from diffdescent.base.errors import UserError
from diffdescent.core.executor import Executor
from diffdescent.core.grid import Grid
from diffdescent.core.noise import Keyed
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Basis, Prediction, conversion
from diffdescent.core.solvers import Solver
from diffdescent.core.solvers.ddim import DDIM, DDPM
from diffdescent.core.transforms import (
    Displacement,
    GradientEstimation,
    Momentum,
    Monitor,
    PositiveNegative,
    Threshold,
    Transform,
)
from diffdescent.core.weight_table import Weights
from diffdescent.core.weights import effective_weights
from tests.contract.setups import GRIDS
from tests.registry import build, learned, solvers

GRID = GRIDS["vp continuous"]
CHAINS: dict[str, tuple[Displacement, ...]] = {
    "plain": (),
    "momentum": (Momentum(-0.3),),
    "both": (Momentum((0.2, -0.5, 0.7), warm_start=True), PositiveNegative(-0.4, normalise=True)),
}


def linear_run(
    plan: Plan, basis: Basis, moves: tuple[Displacement, ...], seed: int
) -> tuple[Tensor, list[Tensor], list[Tensor], Tensor]:
    """A run whose network is a random linear map of its own at every evaluation: x_T, answers,
    noise, result."""
    g = torch.Generator().manual_seed(seed)
    x_start = torch.randn(1, 6, generator=g, dtype=torch.float64)
    noise = Keyed(seed, torch.tensor([seed]))
    executor = Executor(plan, x_start, noise=noise, displacements=moves, dtype=torch.float64)
    answers = []
    while not executor.done:
        query = executor.ask()
        matrix = torch.randn(6, 6, generator=g, dtype=torch.float64) / 4
        answers.append(query.x @ matrix + torch.randn(1, 6, generator=g, dtype=torch.float64))
        executor.tell(Prediction(answers[-1], conversion(basis, query.at)))
    draws = effective_weights(plan).draws
    point = GRID.points[0]
    return x_start, answers, [noise(x_start, *key, point, point) for key in draws], executor.x


@pytest.mark.parametrize("basis", ["x0", "eps"])
@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("solver", solvers(lambda s: not learned(s)))
def test_weights_reproduce_a_run(solver: Solver, chain: str, basis: Basis) -> None:
    plan, moves = solver.plan(GRID), CHAINS[chain]
    weights = effective_weights(plan, transforms=moves, basis=basis)
    x_start, answers, noise, result = linear_run(plan, basis, moves, seed=4)
    rebuilt = weights.start[-1] * x_start
    size = float(rebuilt.abs().max())
    for w, h in [
        *zip(weights.result, answers, strict=True),
        *zip(weights.noise[-1], noise, strict=True),
    ]:
        rebuilt = rebuilt + w * h
        size = max(size, float((w * h).abs().max()))
    assert float((rebuilt - result).abs().max()) < 1e-12 * max(1.0, size)


@settings(max_examples=25, deadline=None)
@given(
    gammas=st.lists(st.floats(-3, 3), min_size=1, max_size=8),
    beta=st.floats(-0.9, 0.9),
    eta=st.sampled_from([0.0, 0.4, 1.0]),
    seed=st.integers(0, 10**6),
)
def test_any_linear_chain(gammas: list[float], beta: float, eta: float, seed: int) -> None:
    """Gradient estimation and momentum with arbitrary numbers over DDIM(η)."""
    plan = GradientEstimation(tuple(gammas)).rewrite(DDIM(eta=eta).plan(GRID))
    moves = (Momentum(beta),)
    weights = effective_weights(plan, transforms=moves)
    x_start, answers, noise, result = linear_run(plan, "x0", moves, seed)
    parts = [weights.start[-1] * x_start]
    parts += [w * h for w, h in zip(weights.result, answers, strict=True)]
    parts += [w * z for w, z in zip(weights.noise[-1], noise, strict=True)]
    size = max(1.0, *(float(p.abs().max()) for p in parts))
    assert float((torch.stack(parts).sum(0) - result).abs().max()) < 1e-12 * size


@pytest.mark.parametrize("name", GRIDS)
def test_ddim_in_closed_form(name: str) -> None:
    """x_s/σ_s − x_t/σ_t = (α_s/σ_s − α_t/σ_t)·D_t telescopes: w_T = σ_s/σ_T and w_i =
    σ_s(α/σ|_{i+1} − α/σ|_i)."""
    grid: Grid = GRIDS[name]
    weights = effective_weights(DDIM().plan(grid))
    rate = np.divide(
        grid.alpha, grid.sigma, out=np.full_like(grid.alpha, np.inf), where=grid.sigma > 0
    )
    for k, (point, row) in enumerate(zip(weights.points, weights.evals, strict=True), start=1):
        if point.sigma == 0:
            expected = np.eye(len(row))[-1] * point.alpha
            assert np.allclose(row, expected, rtol=0, atol=1e-12)
            assert weights.start[-1] == pytest.approx(0, abs=1e-15)
            continue
        expected = np.zeros(len(row))
        expected[:k] = point.sigma * np.diff(rate[: k + 1])
        assert np.allclose(row, expected, rtol=1e-10, atol=1e-12)
        assert weights.start[k - 1] == pytest.approx(point.sigma / grid.sigma[0], rel=1e-12)


def test_ddim_in_eps() -> None:
    """In σ̃ = σ/α the ε weights are the steps: x_s/α_s = x_T/α_T + Σ (σ̃_{i+1} − σ̃_i)·e_i."""
    weights = effective_weights(DDIM().plan(GRID), basis="eps")
    last = GRID.points[-1]
    assert np.allclose(weights.result, last.alpha * np.diff(GRID.ratio), rtol=1e-12, atol=0)
    assert weights.start[-1] == pytest.approx(last.alpha / GRID.alpha[0], rel=1e-12)


def test_momentum_by_hand_on_two_steps() -> None:
    """VE, cold start: x_1 = x_0 − (1 − β)r_0, x_2 = x_1 − (1 − β)(r_1 + βr_0) with r = −Δσ·e."""
    beta, grid = -0.3, GRIDS["ve, narrow"]
    plan = DDIM().plan(grid)
    weights = effective_weights(
        plan, transforms=[Momentum(beta, coords="ve", warm_start=False)], basis="eps"
    )
    d0, d1 = np.diff(grid.sigma)[:2]
    assert weights.evals[0, 0] == pytest.approx((1 - beta) * d0, rel=1e-12)
    assert weights.evals[1, 0] == pytest.approx((1 - beta) * d0 * (1 + beta), rel=1e-12)
    assert weights.evals[1, 1] == pytest.approx((1 - beta) * d1, rel=1e-12)
    assert np.array_equal(weights.start, np.ones(grid.steps))


def test_gradient_estimation_by_hand() -> None:
    """ε weights in σ̃: γΔ_i + (1 − γ)Δ_{i+1}, without the second part for the last and with Δ_0 +
    (1 − γ)Δ_1 first."""
    gamma, grid = 2.2, GRIDS["ve, narrow"]
    weights = effective_weights(
        DDIM().plan(grid), transforms=[GradientEstimation(gamma)], basis="eps"
    )
    steps = np.diff(grid.sigma)
    own = np.array([1.0] + [gamma] * (len(steps) - 1)) * steps
    borrowed = (1 - gamma) * np.append(steps[1:], 0.0)
    assert np.allclose(weights.result, own + borrowed, rtol=1e-12, atol=1e-14)


def test_ddpm_noise_weights_in_closed_form() -> None:
    """Over a constant x0 a step x_s = a·x + b·ε + c·z keeps the share a + b/σ_t of what noise was
    there before."""
    plan = DDPM().plan(GRID)
    weights = effective_weights(plan)
    outputs = [row.outputs[0] for row in plan.rows]
    shares = [
        out.base + out.evals[0] / row.at.sigma for out, row in zip(outputs, plan.rows, strict=True)
    ]
    assert weights.draws == tuple((i, 0) for i in range(GRID.steps))
    for k in range(GRID.steps):
        expected = [
            out.noise * math.prod(shares[i + 1 : k + 1]) for i, out in enumerate(outputs[: k + 1])
        ]
        assert np.allclose(weights.noise[k, : k + 1], expected, rtol=1e-10, atol=1e-14)
        assert not weights.noise[k, k + 1 :].any()
    assert np.allclose(weights.noise_left, GRID.sigma[1:], rtol=1e-12, atol=0)


@pytest.mark.parametrize("solver", solvers(lambda s: not learned(s) and s == type(s)()))
def test_the_future_does_not_count(solver: Solver) -> None:
    """No state depends on an evaluation or a draw made after it; the newest evaluation of the last
    step counts."""
    weights = effective_weights(solver.plan(GRID))
    for row, point in zip(weights.evals, weights.points, strict=True):
        later = [i for i, at in enumerate(weights.at) if at.ratio < point.ratio]
        assert not row[later].any()
    assert weights.result[-1] != 0


def test_recipes_and_their_grid() -> None:
    from diffdescent.core.recipe import parse

    recipe = parse("ge(gamma=1.8) | momentum(beta=-0.3)")
    weights = effective_weights(recipe, GRID)
    same = effective_weights(
        DDIM().plan(GRID), transforms=[GradientEstimation(1.8), Momentum(-0.3)]
    )
    assert np.array_equal(weights.evals, same.evals)


def test_texts_of_a_sampler_and_a_grid() -> None:
    text = "ge(gamma=1.8) | momentum(beta=-0.3)"
    recipe = dd.sampler(text)
    grid = dd.grid("karras", dd.VP.named("cosine"), 7)
    expected = effective_weights(recipe, grid)
    found = effective_weights(text, "karras", steps=7, process=dd.VP.named("cosine"))
    assert np.array_equal(found.evals, expected.evals)
    # Without a grid, the recipe's usual one, over the usual process: ge has the log-linear grid,
    # and a name from elsewhere the one that it asks for.
    usual = effective_weights(recipe, dd.grid("loglinear", dd.VP.named("linear"), 10))
    assert np.array_equal(effective_weights(text).evals, usual.evals)
    karras = dd.grid("karras", dd.VP.named("linear"), 10)
    assert effective_weights("DPM++ 2M Karras").at == karras.points[:-1]
    with pytest.raises(UserError, match="Unknown grid 'carras'"):
        effective_weights("ddim", "carras")


@pytest.mark.parametrize(
    ("transforms", "reason"),
    [
        ([Threshold(1.0)], "threshold is not linear"),
        ([Momentum(-0.3), Threshold(1.0)], "threshold is not linear"),
    ],
)
def test_nonlinear_chains_are_refused(transforms: list[Transform], reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        effective_weights(DDIM().plan(GRID), transforms=transforms)


def test_what_else_is_refused() -> None:
    with pytest.raises(UserError, match="variance that the network predicts"):
        effective_weights(DDPM(variance="learned").plan(GRID))
    with pytest.raises(UserError, match="Unknown basis"):
        effective_weights(DDIM().plan(GRID), basis="v")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="undetermined"):
        effective_weights(DDIM().plan(GRIDS["flow, pure noise to data"]), basis="eps")


def test_a_monitor_sees_nothing_of_it() -> None:
    """The basis vectors are no images; a monitor in the chain is not shown them."""
    monitor = Monitor()
    weights = effective_weights(DDIM().plan(GRID), transforms=[monitor])
    assert np.array_equal(weights.evals, effective_weights(DDIM().plan(GRID)).evals)
    assert not monitor.seen


def rows_of(weights: Weights) -> list[list[str]]:
    return [line.split() for line in weights.table().splitlines()]


def test_the_table_says_what_the_arrays_hold() -> None:
    weights = effective_weights(build("heun", {}).plan(GRID))
    head, *body = rows_of(weights)
    assert head[:3] == ["t", "σ/α", "x_T"]
    assert tuple(head[3:]) == weights.labels
    assert len(body) == GRID.steps
    for cells, start, evals in zip(body, weights.start, weights.evals, strict=True):
        shown = [0.0 if c == "·" else float(c) for c in cells[2:]]
        assert np.allclose(shown, [start, *evals], rtol=0, atol=5.1e-5)


def test_the_summary_names_the_largest_weight() -> None:
    weights = effective_weights(GradientEstimation(2.0).rewrite(DDIM(eta=1.0).plan(GRID)))
    text = weights.summary
    assert f"{GRID.steps} noise draws" in text
    top = int(np.abs(weights.result).argmax())
    assert weights.labels[top] in text
    assert f"{weights.result[top]:+.4g}" in text
