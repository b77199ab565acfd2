"""``constrain``: the projection of the estimate, the proximal step, and what a run ends in."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent import UserError
from diffdescent.core.constraints import BoxSet, Given, MeasuredSet, parse_constraints
from diffdescent.core.operators import parse_operator
from diffdescent.core.process import Point
from diffdescent.core.transforms import Constrain, Evaluation, Project
from diffdescent.models.gaussian import Gaussian

SHAPE = (3, 8, 8)
F64 = torch.float64
PROCESS = dd.VP.named("linear")
SETS = "symmetry(horizontal) & mean([0.1, 0, -0.1])"


def model() -> Gaussian:
    generator = torch.Generator().manual_seed(3)
    mean = 0.3 * torch.randn(SHAPE, generator=generator, dtype=F64)
    wide = 0.05 + 0.3 * torch.rand(SHAPE, generator=generator, dtype=F64)
    return Gaussian(mean, wide, PROCESS)


def images(recipe: dd.Recipe | str, steps: int = 8, grid: str = "karras") -> Tensor:
    return dd.sample(model(), recipe, steps=steps, grid=grid, n=3, dtype=F64).images


def evaluation(x0: Tensor, sigma: float, alpha: float = 1.0) -> Evaluation:
    return Evaluation(x0, x0, Point(1.0, alpha, sigma), 0, 0)


@pytest.mark.parametrize("sampler", ["ddim", "ddim(eta=1)", "ge", "dpmpp", "unipc", "heun"])
def test_a_run_ends_in_the_sets(sampler: str) -> None:
    """Every estimate is in these affine sets, and at σ = 0 the state is a weighted mean of
    estimates; a grid that ends above leaves its noise outside of them."""
    made = images(f"{sampler} | constrain('{SETS}')")
    assert torch.allclose(made, made.flip(-1), atol=1e-9)
    assert torch.allclose(made.mean((2, 3)), torch.tensor([0.1, 0, -0.1], dtype=F64), atol=1e-9)
    assert (images(sampler) - made).abs().max() > 0.05
    noisy = images(f"{sampler} | constrain('{SETS}')", grid="loglinear")
    assert 1e-4 < (noisy - noisy.flip(-1)).abs().max() < 0.2


@pytest.mark.parametrize("text", ["constrain", "constrain(sets='box', share=0)"])
@pytest.mark.parametrize("sampler", ["ddim", "dpmpp(order=3)", "ge | momentum(-0.3)"])
def test_nothing_asked_is_the_sampler_to_the_bit(text: str, sampler: str) -> None:
    assert torch.equal(images(f"{sampler} | {text}"), images(sampler))


def test_over_ddim_it_is_projected_gradient_descent() -> None:
    """x_s = (σ_s/σ_t)·x_t + (α_s − α_t σ_s/σ_t)·P x̂0, written out."""
    net = model()
    grid = dd.grid("karras", PROCESS, 5)
    allowed = parse_constraints(SETS)
    x = dd.sample(net, "ddim", grid=grid, n=2, dtype=F64).record
    start = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=F64)
    made = dd.sample(
        net, f"ddim | constrain('{SETS}')", grid=grid, n=2, start=start, dtype=F64
    ).images
    assert x is not None
    sets = [one.bind(SHAPE, dtype=F64) for one in allowed]
    x = start.clone()
    for source, goal in zip(grid.points[:-1], grid.points[1:], strict=True):
        estimate = net.evaluate(x.flatten(1), source, "x0", None).view_as(x)
        for one in sets:  # these two commute, so one round is the projection
            estimate = one.project(estimate)
        keep = goal.sigma / source.sigma
        x = keep * x + (goal.alpha - source.alpha * keep) * estimate
    assert torch.allclose(made, x, atol=1e-9)


def test_the_proximal_step_is_the_minimum() -> None:
    """Against the minimum of ‖z − x0‖²/2σ̃² + dist(z)²/2τ² by gradient descent."""
    x0 = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(5), dtype=F64) * 2
    ratio, tolerance = 0.6 / 0.8, 0.4
    step = Constrain("box", tolerance=tolerance).correct(evaluation(x0, 0.6, 0.8))
    z = x0.clone().requires_grad_()
    for _ in range(400):
        loss = (z - x0).square().sum() / (2 * ratio**2)
        loss = loss + (z - z.detach().clamp(-1, 1)).square().sum() / (2 * tolerance**2)
        (gradient,) = torch.autograd.grad(loss, z)
        z = (z - 0.1 * gradient).detach().requires_grad_()
    assert step is not None
    assert torch.allclose(x0 + step, z.detach(), atol=1e-6)


def test_a_share_is_a_part_of_the_way_and_noise_makes_the_set_hold() -> None:
    x0 = torch.full((1, *SHAPE), 3.0, dtype=F64)
    whole = Constrain("box").correct(evaluation(x0, 0.5))
    half = Constrain("box", share=0.5).correct(evaluation(x0, 0.5))
    loose = [Constrain("box", tolerance=0.1).correct(evaluation(x0, s)) for s in (10.0, 0.001)]
    assert whole is not None
    assert half is not None
    assert torch.equal(half, whole / 2)
    assert torch.allclose(loose[0], whole, rtol=1e-3)  # type: ignore[arg-type]
    assert loose[1].abs().max() < 1e-3  # type: ignore[union-attr]


def test_each_sample_has_a_set_of_its_own() -> None:
    a = parse_operator("downsample(2)").bind(SHAPE, dtype=F64)
    y = a.forward(torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(2), dtype=F64))
    made = images(dd.sampler("ddim") | Project(MeasuredSet(a, y)))
    assert torch.allclose(a.forward(made), y, atol=1e-9)


def test_eps_may_stay_as_the_network_gave_it() -> None:
    """Then a step changes by α_s(P x̂0 − x̂0) alone."""
    lift = Given(lambda x: x + 1)
    grid = dd.grid("karras", PROCESS, 1)
    plain, kept = (
        dd.sample(model(), r, grid=grid, n=2, dtype=F64).images
        for r in (dd.sampler("ddim"), dd.sampler("ddim") | Project(lift, eps="keep"))
    )
    assert torch.allclose(kept, plain + grid.points[-1].alpha, atol=1e-9)


def test_mistakes_are_said_before_or_at_the_first_step() -> None:
    with pytest.raises(UserError, match="did you mean 'symmetry'"):
        dd.sampler("ddim | constrain('symetry')")
    with pytest.raises(UserError, match="share"):
        Constrain("box", share=2)
    with pytest.raises(UserError, match="palette needs 3"):
        images("ddim | constrain('palette([[0, 0]])')")
    with pytest.raises(UserError, match="tolerance"):
        Project(BoxSet(-1, 1), tolerance=-1)
    with pytest.raises(UserError, match="allows"):
        Project("box")  # type: ignore[arg-type]
