"""Samplers that people know by other names: diffusers' schedulers live, and published formulas
written out."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffdescent.core.grid import Grid, explicit, explicit_ratios, make_grid
from diffdescent.core.process import VE, VP, Flow
from diffdescent.core.recipe import parse
from diffdescent.core.solvers.sa import SASolver
from tests.parity.golden import Replay, common, error, mixture_eps, run, start
from tests.parity.live import DRAWS, TOLERANCE, theirs

pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array_:DeprecationWarning")
Make = Callable[..., Any]


@pytest.mark.parametrize("steps", [6, 17])
@pytest.mark.parametrize(("order", "corrector"), [(1, 0), (2, 2), (3, 3), (3, 4)])
@pytest.mark.parametrize("tau", [0.0, 1.0])
def test_sa_solver(scheduler: Make, steps: int, order: int, corrector: int, tau: float) -> None:
    made = scheduler(
        "sasolver",
        "SASolverScheduler",
        steps,
        predictor_order=order,
        corrector_order=corrector or 1,
        tau_func=lambda t: tau,
    )
    if not corrector:
        made.stochastic_adams_moulton_update = lambda **given: given["this_sample"]
    expected = theirs(made, VP.named())
    grid = explicit_ratios(VP.named(), made.sigmas.numpy())
    solver = SASolver(order=order, corrector=corrector, tau=tau)
    ours = run(solver.plan(grid), start(), noise=Replay(DRAWS))
    assert error(ours.final, expected) < TOLERANCE


def denoised(x: Tensor, point: Any) -> Tensor:
    """x0 of the exact denoiser."""
    return (x - point.sigma * mixture_eps(x, point.alpha, point.sigma)) / point.alpha


def draws() -> list[Tensor]:
    return [torch.tensor(draw) for draw in common("noise_bank")]


def ours(sampler: str, grid: Grid) -> Tensor:
    first = start(float(grid.sigma[0]) if isinstance(grid.process, VE) else 1.0)
    return run(parse(sampler).plan(grid), first, noise=Replay(DRAWS)).final


def test_res_multistep() -> None:
    """The exponential Adams–Bashforth step of order 2 in t = −log σ, with φ_1 and φ_2."""
    grid = make_grid("karras", VE(), 9)
    x, old, t = start(float(grid.sigma[0])), None, -np.log(grid.sigma[:-1])
    for i, point in enumerate(grid.points[:-1]):
        d = denoised(x, point)
        if i == grid.steps - 1:
            x = d
        else:
            h = t[i + 1] - t[i]
            phi1, phi2 = (1 - math.exp(-h)) / h, (math.exp(-h) - 1 + h) / h**2
            r = (t[i - 1] - t[i]) / h if i else 1.0
            b2 = phi2 / r if i else 0.0
            x = math.exp(-h) * x + h * ((phi1 - b2) * d + b2 * (d if old is None else old))
        old = d
    assert error(ours("res_multistep", grid), x) < TOLERANCE


@pytest.mark.parametrize("process", [VE(), Flow(t_max=0.99)], ids=["ve", "flow"])
def test_er_sde(process: Any) -> None:
    """The three stages of the public code, its integrals as sums of many terms."""
    grid = make_grid("karras", process, 7, start=20.0, last=0.05)
    ratio, alpha = grid.ratio, grid.alpha

    def phi(s: Any) -> Any:
        return s * (np.exp(s**0.3) + 10)

    x = start(float(grid.sigma[0]))
    found: list[Tensor] = []
    slopes: list[Tensor] = []
    noise = draws()
    for i, point in enumerate(grid.points[:-1]):
        found.append(denoised(x, point))
        lo, hi = ratio[i + 1], ratio[i]
        if lo == 0:
            x = found[-1]
            continue
        r = phi(lo) / phi(hi)
        change = (1 - r) * found[i]
        edges = np.linspace(lo, hi, 400_001)
        middle, width = (edges[1:] + edges[:-1]) / 2, edges[1] - edges[0]
        if i:
            first = float((width / phi(middle)).sum())
            slope = (found[i] - found[i - 1]) / (ratio[i] - ratio[i - 1])
            slopes.append(slope)
            change = change + (lo - hi + first * phi(lo)) * slope
        if i > 1:
            second = float(((middle - hi) * width / phi(middle)).sum())
            bend = (slopes[-1] - slopes[-2]) / ((ratio[i] - ratio[i - 2]) / 2)
            change = change + ((lo - hi) ** 2 / 2 + second * phi(lo)) * bend
        fresh = math.sqrt(lo**2 - (r * hi) ** 2) * noise[i]
        x = alpha[i + 1] * (r * x / alpha[i] + change + fresh)
    first_state = start(float(grid.sigma[0]))
    plan = parse("er_sde(released=true)").plan(grid)
    assert error(run(plan, first_state, noise=Replay(DRAWS)).final, x) < 1e-8


@pytest.mark.parametrize("kind", ["ddim", "dpm"])
def test_cogvideox(scheduler: Make, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its DDIM is ours; its DPM is the second-order SDE form with η = 1. It draws noise twice in a
    step and uses the second; here both are one."""
    name = {"ddim": "CogVideoXDDIMScheduler", "dpm": "CogVideoXDPMScheduler"}[kind]
    steps = 10
    made = scheduler(
        f"{kind}_cogvideox", name, steps, clip_sample=False, rescale_betas_zero_snr=False
    )
    process = VP.from_alpha_bar(made.alphas_cumprod.numpy())
    grid = explicit(process, [*made.timesteps.tolist(), -1.0])
    x, old, back = start(), None, None
    for noise, point in zip(draws(), grid.points[:-1], strict=False):
        t = int(point.t)
        module = importlib.import_module(type(made).__module__)
        if kind == "dpm":
            monkeypatch.setattr(module, "randn_tensor", lambda *a, z=noise, **k: z)
        eps = mixture_eps(x, point.alpha, point.sigma)
        if kind == "ddim":
            x = made.step(eps, t, x).prev_sample
        else:
            x, old = made.step(eps, old, t, back, x)
            back = t
    sampler = "ddim" if kind == "ddim" else "dpmpp(eta=1, lower_order_final=never)"
    assert error(ours(sampler, grid), x) < 1e-8


def test_dpmpp_2m_sde_on_a_flow() -> None:
    """σ'/σ e^{−ηh} x + α' (1 − e^{−(1+η)h}) x0 and half of the last change, λ = log((1 − σ)/σ)."""
    grid = make_grid("uniform", Flow(t_max=0.98), 8, spacing="trailing")
    alpha, sigma, noise = grid.alpha, grid.sigma, draws()
    x, old, last = start(), None, 0.0
    for i, point in enumerate(grid.points[:-1]):
        d = denoised(x, point)
        if sigma[i + 1] == 0:
            x = d
            continue
        h = math.log(alpha[i + 1] / sigma[i + 1]) - math.log(alpha[i] / sigma[i])
        gain = alpha[i + 1] * -math.expm1(-2 * h)
        moved = sigma[i + 1] / sigma[i] * math.exp(-h) * x + gain * d
        if old is not None:
            moved = moved + 0.5 * gain * (h / last) * (d - old)
        x = moved + sigma[i + 1] * math.sqrt(-math.expm1(-2 * h)) * noise[i]
        old, last = d, h
    plan = parse("dpmpp_2m_sde").plan(grid)
    assert error(run(plan, start(), noise=Replay(DRAWS)).final, x) < TOLERANCE


def test_dpm_fast_spends_its_evaluations() -> None:
    """Steps of orders 3, 3, 2, 1 of equal length in λ, their stages at equal fractions."""
    grid = make_grid("logsnr", VP.named(), 4)
    plan = parse("dpm(order=3, method=singlestep, orders=[3, 3, 2, 1])").plan(grid)
    at = -np.log([row.at.ratio for row in plan.rows])
    h = float(np.diff(-np.log(grid.ratio))[0])
    assert np.diff(at) == pytest.approx([h / 3] * 6 + [h / 2] * 2, rel=1e-6)
    assert (plan.nfe, plan.steps) == (9, 4)
