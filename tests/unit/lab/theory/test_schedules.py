"""Statements 3 and 4: DDIM as gradient descent, its bounds, and what (η, ν)-admissible schedules
allow."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

import diffdescent as dd
from diffdescent.core.grid import explicit_ratios, make_grid
from diffdescent.lab.theory import (
    Adversary,
    Sphere,
    Subspace,
    check,
    distance_bounds,
    greatest_factor,
    greatest_step,
    least_steps,
    measure,
    statement,
)
from diffdescent.lab.theory.schedules import least_band, step_sizes

N = 12
ORIGIN = Subspace(torch.zeros(N, dtype=torch.float64))


def constant(beta: float, steps: int, start: float = 40.0) -> np.ndarray:
    return start * (1 - beta) ** np.arange(steps + 1)


def distances(eta: float, ratios: np.ndarray) -> np.ndarray:
    """dist(x)/dist(x_N) after each step of DDIM with the adversary on the origin, from √nσ_N =
    dist(x_N)."""
    grid = explicit_ratios(dd.VE(), ratios)
    start = torch.full((1, N), float(ratios[0]), dtype=torch.float64)
    model = Adversary(ORIGIN, dd.VE(), eta)
    found = measure(model, ORIGIN, "ddim", grid=grid, start=start)
    last = dd.sample(model, "ddim", grid=grid, start=start, dtype=torch.float64).images.norm()
    after = np.append(found.values["dist"][1:, 0], float(last))
    return np.asarray(after / found.values["dist"][0, 0])


@pytest.mark.parametrize("eta", [0.2, 0.6])
def test_statement_3_the_bounds_are_attained_by_the_adversary(eta: float) -> None:
    ratios = np.array([40.0, 30, 12, 9, 8, 3.5, 3])
    bounds = distance_bounds(ratios, eta)
    np.testing.assert_allclose(distances(eta, ratios), bounds.lower, rtol=1e-12)
    np.testing.assert_allclose(distances(-eta, ratios), bounds.upper, rtol=1e-12)


@pytest.mark.parametrize("name", ["point", "plane", "sphere"])
def test_statement_3_any_denoiser_within_eta_stays_between_the_bounds(name: str) -> None:
    """Errors of size η·dist in random directions, new in every step."""
    generator = torch.Generator().manual_seed(1)
    zero = torch.zeros(N, dtype=torch.float64)
    k = {"point": ORIGIN, "plane": Subspace(zero, torch.eye(N)[:3]), "sphere": Sphere(zero, 2.0)}[
        name
    ]
    ratios, eta, rows = constant(0.3, 8), 0.5, 200
    bounds = distance_bounds(ratios, eta)
    x = 40 * torch.randn(rows, N, generator=generator, dtype=torch.float64)
    first = k.project(x).distance
    seen = []
    for step, (src, dst) in enumerate(pairwise(ratios)):
        found = k.project(x)
        kick = torch.randn(rows, N, generator=generator, dtype=torch.float64)
        kick = eta * found.distance[:, None] * kick / kick.norm(dim=1, keepdim=True)
        eps = (x - found.nearest + kick) / float(src)
        x = x + float(dst - src) * eps
        share = k.project(x).distance / first
        assert (share >= bounds.lower[step] * (1 - 1e-9)).all()
        assert (share <= bounds.upper[step] * (1 + 1e-9)).all()
        seen.append(share)
    assert float(seen[-1].max() / seen[-1].min()) > 1.1  # and they do differ


def test_the_adversary_has_exactly_its_relative_error() -> None:
    k = Sphere(torch.zeros(N, dtype=torch.float64), 2.0)
    found = measure(Adversary(k, dd.VP.named(), -0.3), k, "ddim", steps=6, grid="loglinear", n=5)
    np.testing.assert_allclose(found.values["eta"], 0.3, rtol=1e-6)


@pytest.mark.parametrize(("eta", "nu", "steps"), [(0.2, 2.0, 5), (0.5, 2.0, 1), (1.0, 3.0, 40)])
def test_statement_4_the_greatest_step_is_sharp(eta: float, nu: float, steps: int) -> None:
    """β* = c/(η + c) is admissible; just past it √nσ ≤ ν dist breaks at step N, under the
    overshooting denoiser."""
    beta = greatest_step(eta, nu, steps)
    c = 1 - nu ** (-1 / steps)
    assert beta == pytest.approx(c / (eta + c), rel=1e-12)
    assert check(constant(beta, steps), eta, nu).admissible
    past = check(constant(beta * (1 + 1e-6), steps), eta, nu)
    assert (past.step, past.side) == (steps - 1, "near")
    # What really happens there: the band breaks, the bounds of the distances do not.
    ratios = constant(min(beta * 1.01, 0.999), steps)
    dist = distances(eta, ratios)
    assert ratios[-1] / ratios[0] > nu * dist[-1]
    assert dist[-1] >= distance_bounds(ratios, eta).lower[-1] * (1 - 1e-9)
    kept = constant(beta, steps)
    assert np.all(kept[1:] / kept[0] <= nu * distances(eta, kept) * (1 + 1e-9))
    assert np.all(kept[1:] / kept[0] >= distances(-eta, kept) / nu * (1 - 1e-9))


def test_the_check_is_the_definition() -> None:
    """(1/ν)Π(1 + β(η − 1)) ≤ Π(1 − β) ≤ νΠ(1 − β(η + 1)) for every t, term by term, on random
    schedules."""
    generator = np.random.default_rng(2)
    verdicts = []
    for _ in range(60):
        beta, eta, nu = (
            generator.uniform(0, 0.3, 6),
            float(generator.uniform(0, 1)),
            float(generator.uniform(1, 4)),
        )
        ratios = 20 * np.cumprod(np.append(1, 1 - beta))
        found = check(ratios, eta, nu)
        sigma, low, high = (
            np.array([math.prod(f[: t + 1]) for t in range(6)])
            for f in (1 - beta, 1 - beta * (eta + 1), 1 + beta * (eta - 1))
        )
        np.testing.assert_allclose(found.far, nu * sigma / high, rtol=1e-12)
        np.testing.assert_allclose(found.near, sigma / (nu * low), rtol=1e-12)
        holds = (high / nu <= sigma) & (sigma <= nu * low)
        assert found.admissible == holds.all()
        assert found.step == (None if holds.all() else int((~holds).argmax()))
        assert found.side in (None, "near")
        verdicts.append(found.admissible)
    assert 10 < sum(verdicts) < 50


def test_falling_short_can_leave_the_band_at_the_other_side() -> None:
    found = check([10.0, 0.0], 0.2, 2.0)
    assert (found.step, found.side, found.admissible) == (0, "far", False)
    assert "σ = 0" in found.sentence([10.0, 0.0])
    assert check([10.0, 5.0], 0.0, 1.0).admissible  # an exact projection may take any step


def test_no_number_of_steps_reaches_further() -> None:
    assert greatest_factor(0.5, 2.0) == pytest.approx(4.0)
    values = [greatest_factor(0.5, 2.0, n) for n in (1, 2, 10, 1000, 10**6)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(4, rel=1e-5)
    assert values[-1] < 4
    assert least_steps(0.5, 2.0, 4.0) is None
    assert least_steps(0.5, 2.0, 100.0) is None
    assert "even infinitely many steps" in statement(0.5, 2.0, 100.0)
    assert greatest_factor(0.0, 2.0) == math.inf
    assert least_steps(0.0, 1.0, 1e6) == 1


def test_the_least_number_of_steps_is_the_least() -> None:
    for ratio in (1.5, 3.0, 3.9, 3.9999):
        n = least_steps(0.5, 2.0, ratio)
        assert n is not None
        assert greatest_factor(0.5, 2.0, n) >= ratio
        assert n == 1 or greatest_factor(0.5, 2.0, n - 1) < ratio


def test_no_uneven_schedule_beats_the_even_one() -> None:
    """A step's cost of log ν is convex in its log σ ratio: random schedules of the same factor are
    not admissible."""
    eta, nu, steps = 0.4, 2.0, 6
    total = math.log(greatest_factor(eta, nu, steps))
    generator = np.random.default_rng(0)
    for _ in range(50):
        parts = generator.dirichlet(np.full(steps, 3.0)) * total
        assert not check(np.exp(-np.concatenate(([0], np.cumsum(parts)))), eta, nu).admissible


def test_the_least_band() -> None:
    ratios = constant(greatest_step(0.3, 2.0, 8), 8)
    assert least_band(ratios, 0.3) == pytest.approx(2.0, rel=1e-9)
    assert least_band([10.0, 1.0], 0.5) == math.inf
    assert check(ratios, 0.3, 2.0).used == pytest.approx(1.0)


def test_the_registered_grid() -> None:
    process = dd.VP.named()
    grid = make_grid("admissible", process, 12, eta=0.3, nu=4.0)
    assert check(grid.ratio, 0.3, 4.0).admissible
    np.testing.assert_allclose(np.diff(grid.lam), np.diff(grid.lam)[0], rtol=1e-9)
    assert grid.ratio[-1] == pytest.approx(float(process.ratio(0)))
    assert grid.ratio[0] / grid.ratio[-1] == pytest.approx(greatest_factor(0.3, 4.0, 12))
    assert "starts at" in grid.notes[0]
    down = make_grid("admissible", process, 12, eta=0.3, nu=4.0, start=40.0)
    assert down.ratio[0] == pytest.approx(40)
    assert check(down.ratio, 0.3, 4.0).admissible
    both = make_grid("admissible", process, 12, eta=0.3, nu=4.0, start=10.0, last=2.0)
    assert (both.ratio[0], both.ratio[-1]) == pytest.approx((10, 2))
    easy = make_grid("admissible", dd.VE(), 60, eta=0.01, nu=2.0)
    assert easy.ratio[0] == pytest.approx(80)
    assert not easy.notes
    assert dd.grid("admissible(eta=0.3, nu=4)", process, 12).ratio[0] == pytest.approx(
        grid.ratio[0]
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: make_grid("admissible", dd.VE(), 5, eta=0.5, nu=2.0, start=40.0, last=1.0),
            "infinitely many",
        ),
        (
            lambda: make_grid("admissible", dd.VE(), 5, eta=0.2, nu=4.0, start=40.0, last=0.1),
            "needs at least 26 steps",
        ),
        (lambda: make_grid("admissible", dd.VE(), 5, eta=-1), "be finite and at least 0"),
        (lambda: make_grid("admissible", dd.VE(), 5, nu=0.5), "be finite and at least 1"),
        (lambda: make_grid("admissible", dd.VE(), 5, start=1.0, last=2.0), "last < start"),
        (lambda: check([1.0, 2.0], 0.1, 2), "fall"),
        (lambda: least_steps(0.1, 2, 0.5), "at least 1"),
        (lambda: greatest_step(0.1, 2, 0), "at least 1 step"),
    ],
)
def test_mistakes(call: object, words: str) -> None:
    with pytest.raises(dd.UserError, match=words):
        call()  # type: ignore[operator]


def test_step_sizes_are_those_of_gradient_descent() -> None:
    """One DDIM step is x − β∇f̂ with ∇f̂ = σε."""
    grid = explicit_ratios(dd.VE(), [5.0, 2.0])
    k = Sphere(torch.zeros(N, dtype=torch.float64), 1.0)
    x = torch.randn(3, N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    out = dd.sample(
        Adversary(k, dd.VE(), 0.0), "ddim", grid=grid, n=3, start=x, dtype=torch.float64
    ).images
    torch.testing.assert_close(
        out, x - float(step_sizes(grid.ratio)[0]) * (x - k.project(x).nearest)
    )
