"""Thresholding and the monitor: what they do, and that a no-op changes not one bit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.executor import Executor
from diffdescent.core.grid import make_grid
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import VP, Point
from diffdescent.core.solvers import SOLVERS
from diffdescent.core.transforms import DynamicThreshold, Estimate, Monitor, Threshold
from diffdescent.core.transforms.base import Evaluation
from diffdescent.core.transforms.threshold import EpsRule, quantile

PROCESS = VP.named()
GRID = make_grid("uniform", PROCESS, 6)


def run(plan: Plan, *estimates: Estimate, spread: float = 3.0) -> Tensor:
    """A run whose x0 estimates leave [−1, 1]: ε of the data N(0, spread²)."""
    torch.manual_seed(0)
    machine = Executor(plan, torch.randn(3, 2, 4, 4), estimates=estimates, dtype=torch.float32)
    while not machine.done:
        query = machine.ask()
        a, s = query.at.alpha, query.at.sigma
        eps = query.x * (s / ((a * spread) ** 2 + s * s))
        machine.tell(Prediction(eps, conversion("eps", query.at)))
    return machine.x


def correction(transform: Estimate, x0: Tensor) -> Tensor:
    delta = transform.correct(Evaluation(x0, x0, Point(0, 1, 0), 0, 0))
    assert delta is not None
    return x0 + delta


@pytest.mark.parametrize("solver", ["ddim", "plms", "pndm", "deis", "ab", "rhork"])
@pytest.mark.parametrize("eps", ["recompute", "keep"])
def test_no_op_changes_no_bit(solver: str, eps: EpsRule) -> None:
    plan = SOLVERS[solver]().plan(GRID)
    plain = run(plan)
    assert torch.equal(plain, run(plan, Threshold(1e3, eps)))
    assert torch.equal(plain, run(plan, Monitor(images=True)))
    small = run(plan, spread=0.05)
    assert torch.equal(small, run(plan, DynamicThreshold(eps=eps), spread=0.05))


@pytest.mark.parametrize("solver", ["ddim", "plms", "pndm", "deis"])
@pytest.mark.parametrize("transform", [Threshold(), DynamicThreshold(0.9)])
def test_the_end_lies_within_the_range(solver: str, transform: Estimate) -> None:
    plan = SOLVERS[solver]().plan(GRID)
    assert run(plan).abs().max() > 1
    if solver == "ddim":  # its last step returns x0 itself
        assert run(plan, transform).abs().max() <= 1 + 1e-6
    else:
        assert run(plan, transform).abs().max() < run(plan).abs().max()


def test_one_step_by_hand() -> None:
    """x_s = α_s x̂0 + σ_s ε, with ε kept or taken from the clamped x̂0."""
    grid = make_grid("uniform", PROCESS, 5, end=0.5)
    plan = SOLVERS["ddim"]().plan(grid)
    src, dst = grid.points[:2]
    torch.manual_seed(0)
    x, eps = torch.randn(2, 1, 3, 3).double() * 20, torch.randn(2, 1, 3, 3).double()
    x0 = ((x - src.sigma * eps) / src.alpha).clamp(-1, 1)
    for rule, noise in (("keep", eps), ("recompute", (x - src.alpha * x0) / src.sigma)):
        machine = Executor(plan, x, estimates=(Threshold(1.0, rule),), dtype=torch.float64)  # type: ignore[arg-type]
        machine.ask()
        machine.tell(Prediction(eps, conversion("eps", src)))
        assert torch.allclose(machine.x, dst.alpha * x0 + dst.sigma * noise, rtol=0, atol=1e-9)


def test_dynamic_threshold_by_hand() -> None:
    torch.manual_seed(0)
    x0 = torch.randn(4, 3, 5, 5) * torch.tensor([0.1, 1.0, 2.0, 5.0]).view(4, 1, 1, 1)
    s = torch.quantile(x0.abs().flatten(1), 0.9, dim=1).clamp(min=1).view(4, 1, 1, 1)
    assert torch.allclose(correction(DynamicThreshold(0.9), x0), x0.clamp(-s, s) / s, atol=1e-6)


@pytest.mark.parametrize("p", [0.01, 0.5, 0.995, 1.0])
@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_quantile_is_torchs(p: float, n: int) -> None:
    torch.manual_seed(n)
    values = torch.randn(3, n)
    assert torch.allclose(
        quantile(values, p), torch.quantile(values, p, dim=1, keepdim=True), atol=1e-6
    )


def test_monitor_sees_every_evaluation_after_the_transforms_before_it() -> None:
    plan = SOLVERS["pndm"]().plan(GRID)
    before, after = Monitor(), Monitor(images=True)
    run(plan, before, Threshold(), after)
    assert len(before.seen) == len(after.seen) == plan.nfe
    assert max(float(s.high.max()) for s in before.seen) > 1
    for seen, row in zip(after.seen, plan.rows, strict=True):
        assert (seen.t, seen.step) == (row.at.t, row.step)
        assert seen.x0 is not None
        flat = seen.x0.flatten(1)
        assert torch.equal(seen.high, flat.amax(1))
        assert torch.equal(seen.low, flat.amin(1))
        assert torch.allclose(seen.mean, flat.mean(1))
        assert torch.allclose(seen.rms, flat.square().mean(1).sqrt())
        assert float(seen.high.max()) <= 1 + 1e-6


def test_at_zero_noise_there_is_nothing_to_threshold() -> None:
    """The first evaluation of an inversion is at σ = 0, where x0 is the state: ε stays what the
    network said."""
    grid = GRID.reversed()
    assert torch.isfinite(run(SOLVERS["ddim"]().plan(grid), Threshold(0.1))).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Threshold(0.0),
        lambda: Threshold(eps="both"),  # type: ignore[arg-type]
        lambda: DynamicThreshold(1.5),
        lambda: DynamicThreshold(eps="both"),  # type: ignore[arg-type]
        lambda: run(SOLVERS["unipc"]().plan(GRID), Threshold(eps="keep")),
    ],
)
def test_bad_options(make: object) -> None:
    with pytest.raises(UserError):
        make()  # type: ignore[operator]
