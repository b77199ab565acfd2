"""The methods against the papers' algorithms, written out here as loops of their own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.base.errors import UserError
from diffdescent.core.noise import Keyed
from diffdescent.core.process import Point
from diffdescent.models.gaussian import Gaussian
from diffdescent.run import Run, collect, prepare_restoration
from diffdescent.run.problem import measure

from .problems import SHAPE, bound, dense, gaussian

NOISE, NFE = 0.2, 7
EYE = torch.eye(36, dtype=torch.float64)


def problem(operator: str, method: str, noise: float = NOISE) -> tuple[Run, Tensor]:
    """A run of one measurement in float64, and its y."""
    y = measure(
        bound(operator), gaussian().sample(1, torch.Generator().manual_seed(2)), noise, 0, range(1)
    )
    run = prepare_restoration(
        gaussian(), y, operator, noise=noise, method=method, nfe=NFE, dtype=torch.float64
    )
    return run, y


def steps(run: Run) -> Iterator[tuple[Point, Point, Tensor]]:
    """The levels of each step, and its unit noise, flat."""
    source = Keyed(run.seed, torch.tensor(run.samples))
    x = torch.zeros(1, *SHAPE, dtype=torch.float64)
    for i, (src, dst) in enumerate(zip(run.grid.points, run.grid.points[1:], strict=False)):
        yield src, dst, source(x, i, 0, src, dst).flatten()


def start(run: Run) -> Tensor:
    first = run.grid.points[0]
    noise = Keyed(run.seed, torch.tensor(run.samples)).initial(SHAPE).double()
    return noise.flatten() * run.grid.process.start_scale(first)


def x0_of(model: Gaussian, x: Tensor, at: Point) -> Tensor:
    """E[x0 | x] of N(μ, I), by hand."""
    return model.mean + at.alpha / (at.alpha**2 + at.sigma**2) * (x - at.alpha * model.mean)


def close(run: Run, expected: Tensor) -> None:
    found = collect(run).images.flatten()
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_ddrm_is_the_papers_update() -> None:
    """Equations 7 and 8, in x/α and along singular vectors found by a dense decomposition."""
    run, y = problem("blur(sigma=0.9)", "ddrm(eta=0.7, eta_b=0.9)")
    u, s, vt = torch.linalg.svd(dense(bound("blur(sigma=0.9)")))
    bar = (u.T @ y.flatten()) / s
    x, eta, eta_b = start(run), 0.7, 0.9
    for src, dst, z in steps(run):
        theta = vt @ x0_of(gaussian(), x, src)
        last, level, fresh = vt @ x / src.alpha, dst.ratio, vt @ z
        out = torch.empty_like(theta)
        for i in range(len(s)):
            tau = NOISE / s[i]
            if level < tau:
                out[i] = theta[i] + math.sqrt(1 - eta**2) * level * (bar[i] - theta[i]) / tau
                out[i] += eta * level * fresh[i]
            else:
                spread = torch.sqrt(level**2 - tau**2 * eta_b**2)
                out[i] = (1 - eta_b) * theta[i] + eta_b * bar[i] + spread * fresh[i]
        assert last.isfinite().all()
        x = dst.alpha * (vt.T @ out)
    close(run, x)


def test_ddrm_leaves_what_is_not_measured_to_the_sampler() -> None:
    """The branch s = 0: a mask's hidden pixels take the step of DDIM with η² new noise."""
    run, y = problem("mask", "ddrm(eta=0.6)")
    known = bound("mask").singular.expand(SHAPE).flatten() > 0
    x = start(run)
    for src, dst, z in steps(run):
        theta = x0_of(gaussian(), x, src)
        eps = (x - src.alpha * theta) / src.sigma
        free = theta + dst.ratio * (0.8 * eps + 0.6 * z)
        if dst.ratio < NOISE:
            told = theta + 0.8 * dst.ratio / NOISE * (y.flatten() - theta) + 0.6 * dst.ratio * z
        else:
            told = y.flatten() + math.sqrt(dst.ratio**2 - NOISE**2) * z
        x = dst.alpha * torch.where(known, told, free)
    close(run, x)


def test_a_temperature_scales_the_noise_that_is_drawn() -> None:
    """From the same start, without the part that is random, half of the two are a half apart."""
    cold, half, full = (
        collect(problem("mask", f"ddrm(temperature={t})")[0]).images for t in (0, 0.25, 1)
    )
    assert not torch.equal(cold, full)
    torch.testing.assert_close(half - cold, (full - cold) / 2, rtol=1e-6, atol=1e-9)


def test_ddnm_is_the_papers_projection() -> None:
    run, y = problem("downsample(2)", "ddnm(eta=0.85)", noise=0.0)
    a = dense(bound("downsample(2)"))
    pinv = torch.linalg.pinv(a)
    x = start(run)
    for src, dst, z in steps(run):
        x0 = x0_of(gaussian(), x, src)
        x0 = pinv @ y.flatten() + x0 - pinv @ (a @ x0)
        eps = (x - src.alpha * x0) / src.sigma
        x = dst.alpha * x0 + dst.sigma * (math.sqrt(1 - 0.85**2) * eps + 0.85 * z)
    close(run, x)


def test_diffpir_is_the_papers_algorithm() -> None:
    run, y = problem("blur", "diffpir(strength=7, zeta=0.3)")
    a = dense(bound("blur"))
    x = start(run)
    for src, dst, z in steps(run):
        x0 = x0_of(gaussian(), x, src)
        rho = 7 * NOISE**2 / src.ratio**2
        x0 = torch.linalg.solve(a.T @ a + rho * EYE, a.T @ y.flatten() + rho * x0)
        eps = (x - src.alpha * x0) / src.sigma
        x = dst.alpha * x0 + dst.sigma * (math.sqrt(0.7) * eps + math.sqrt(0.3) * z)
    close(run, x)


def test_diffpir_linearises_a_function() -> None:
    """Gauss–Newton on a function that is linear after all is the proximal step; on another one it
    is a step towards the minimum, and the residual shows it."""
    from diffdescent.operators import Function

    linear, y = problem("downsample(2)", "diffpir(strength=2, steps=30)")
    a, model = bound("downsample(2)"), gaussian()
    given: dict[str, Any] = {"noise": NOISE, "nfe": NFE, "dtype": torch.float64}
    text = "diffpir(strength=2, steps=30)"
    same = dd.restore(model, y, Function(a.forward), method=text, **given).images[:, 0]
    torch.testing.assert_close(same, collect(linear).images, rtol=1e-4, atol=1e-4)
    bent = Function(lambda x: torch.tanh(2 * a.forward(x)))
    found = dd.restore(model, torch.tanh(2 * y), bent, method=text, **given).images[:, 0]
    without = dd.restore(model, torch.tanh(2 * y), bent, method="diffpir(weight=0)", **given)
    left = [
        float((torch.tanh(2 * a.forward(x)) - torch.tanh(2 * y)).norm())
        for x in (found, without.images[:, 0])
    ]
    assert left[0] < 0.4 * left[1]
    with pytest.raises(UserError, match="not linear"):
        dd.restore(model, torch.zeros(1, *SHAPE), "quantize", method="diffpir", nfe=3)


def test_dps_as_released_takes_the_papers_step() -> None:
    """Algorithm 1 over DDPM: x_s −= ζ ∇‖y − A x̂0(x_t)‖, the gradient by autograd."""
    run, y = problem("downsample(2)", "dps(0.4, size=paper, through=inf)")
    a = dense(bound("downsample(2)"))
    x = start(run)
    for src, dst, z in steps(run):
        leaf = x.clone().requires_grad_()
        x0 = x0_of(gaussian(), leaf, src)
        (gradient,) = torch.autograd.grad((y.flatten() - a @ x0).norm(), leaf)
        x0 = x0.detach()
        forward = src.sigma**2 - (src.alpha / dst.alpha) ** 2 * dst.sigma**2
        noise = dst.sigma / src.sigma * math.sqrt(forward)
        eps = (x - src.alpha * x0) / src.sigma
        mean = dst.alpha * x0 + math.sqrt(dst.sigma**2 - noise**2) * eps
        x = mean + noise * z - 0.4 * gradient
    close(run, x)


def test_dps_searches_the_line_exactly() -> None:
    """No step along d gives a smaller value of the quadratic model, nor another multiple of it."""
    run, y = problem("downsample(2)", "ddim | dps(through=inf)")
    a, model = dense(bound("downsample(2)")), gaussian()
    src, dst, _ = next(steps(run))
    x = start(run)
    x0 = x0_of(model, x, src)
    v = src.sigma**2 / (src.alpha**2 + src.sigma**2)  # the covariance of x0 given x_t, times I
    d = v * a.T @ (y.flatten() - a @ x0)

    def value(step: float) -> float:
        moved = x0 + step * d
        fit = (y.flatten() - a @ moved).square().sum() / (2 * NOISE**2)
        return float(fit + (moved - x0).square().sum() / (2 * v))

    taken = prepare_restoration(
        model, y, "downsample(2)", noise=NOISE, method="ddim | dps(through=inf)", nfe=1,
        grid="uniform(spacing=trailing)", dtype=torch.float64,
    )  # fmt: skip
    one = collect(taken).images.flatten()  # one step to σ = 0 ends at the estimate
    src1 = taken.grid.points[0]
    x0 = x0_of(model, start(taken), src1)
    v = src1.sigma**2 / (src1.alpha**2 + src1.sigma**2)
    d = v * a.T @ (y.flatten() - a @ x0)
    step = float(((one - x0) @ d) / (d @ d))
    torch.testing.assert_close(one, x0 + step * d, rtol=1e-7, atol=1e-7)
    assert value(step) <= min(value(step * 0.99), value(step * 1.01))
    assert dst.sigma < src.sigma


def test_admm_is_plug_and_play_admm() -> None:
    run, y = problem("blur", "admm(strength=2)")
    a, model = dense(bound("blur")), gaussian()
    x, u, last = start(run), torch.zeros(36, dtype=torch.float64), None
    pairs = list(steps(run))
    for i, (src, dst, _) in enumerate(pairs):
        v = x0_of(model, x, src)
        u = u if last is None else u + last - v
        rho = 2 * NOISE**2 / src.ratio**2
        last = torch.linalg.solve(a.T @ a + rho * EYE, a.T @ y.flatten() + rho * (v - u))
        x = dst.alpha * (last if i == len(pairs) - 1 else last + u)
    close(run, x)


def test_reddiff_descends_on_the_papers_loss() -> None:
    """Algorithm 1 with torch's own Adam on the loss of equation 8, its weight λ σ̃_t, written with
    ε̂ and z: from the second evaluation on the state is α μ + σ z."""
    run, y = problem("blur", "reddiff(regularizer=0.3, rate=0.05)")
    a, model = dense(bound("blur")), gaussian()
    begin = torch.linalg.solve(a.T @ a + NOISE**2 * EYE, a.T @ y.flatten())
    mu = begin.clone().requires_grad_()
    adam = torch.optim.Adam([mu], lr=0.05, betas=(0.9, 0.99))
    x = start(run)
    z_last = None
    for src, dst, z in steps(run):
        x0 = x0_of(model, x, src)
        adam.zero_grad()
        if z_last is None:
            prior = 0.3 * ((mu - x0).square().sum() / 2)  # the start is no state of μ
        else:
            eps = (x - src.alpha * x0) / src.sigma
            prior = 0.3 * src.ratio * ((eps - z_last) @ mu)
        ((y.flatten() - a @ mu).square().sum() / 2 + prior).backward()
        adam.step()
        x, z_last = dst.alpha * mu.detach() + dst.sigma * z, z
    close(run, x)
