"""Neutral parameters, batch splits and resumption change no bit, over every solver, prediction kind
and dtype."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.executor import Executor
from diffdescent.core.noise import Keyed
from diffdescent.core.predict import Kind
from diffdescent.core.solvers import Solver
from diffdescent.core.solvers.ddim import DDIM
from diffdescent.core.transforms import (
    Displacement,
    DynamicThreshold,
    Estimate,
    GradientEstimation,
    Momentum,
    Monitor,
    PositiveNegative,
    Threshold,
)
from tests.contract.setups import GRIDS, answer, run, state
from tests.registry import build, learned, solvers

KINDS: tuple[Kind, ...] = ("eps", "x0", "v", "flow")
RUNS = [
    pytest.param(kind, dtype, id=f"{kind}-{dtype}".replace("torch.", ""))
    for kind, dtypes in (
        ("eps", (torch.float32, torch.float64)),
        ("x0", (torch.float32,)),
        ("v", (torch.float32, torch.float64)),
        ("flow", (torch.float64,)),
    )
    for dtype in dtypes
]
SOLVERS = solvers(lambda s: not learned(s))
FINITE = GRIDS["vp, to zero"]


@pytest.mark.parametrize(("kind", "dtype"), RUNS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_neutral_parameters_change_no_bit(solver: Solver, kind: Kind, dtype: torch.dtype) -> None:
    """β = 0, γ = 1, a threshold that nothing reaches, and a monitor."""
    plan, x = solver.plan(FINITE), state(3, FINITE, dtype)
    plain = run(plan, x, kind)
    assert plain.dtype == dtype
    assert plain.isfinite().all()

    moves: list[list[Displacement]] = [
        [Momentum(0.0, warm_start=True)],
        [Momentum(0.0, warm_start=False, coords="native"), PositiveNegative(0.0)],
        [Momentum(0.0, coords="ve", noise="outside")],
    ]
    for chain in moves:
        assert torch.equal(plain, run(plan, x, kind, displacements=chain)), chain
    monitor = Monitor()
    for estimate in (Threshold(1e9), monitor):
        assert torch.equal(plain, run(plan, x, kind, estimates=[estimate])), estimate
    assert len(monitor.seen) == plan.nfe

    if any(row.keep and row.keep[0] != 0 for row in plan.rows):
        with pytest.raises(UserError, match="does not keep its newest"):
            GradientEstimation(1.0, force=True).rewrite(plan)
        return
    for last in ("correct", "plain"):
        neutral = GradientEstimation(1.0, last=last, force=True).rewrite(plan)
        assert torch.equal(plain, run(neutral, x, kind)), last


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_threshold_that_keeps_eps_is_neutral_or_refused(solver: Solver) -> None:
    """Rows that use an evaluation in two outputs have no room for it, and say so."""
    plan, x = solver.plan(FINITE), state(3, FINITE)
    estimates = [Threshold(1e9, eps="keep")]
    if any(sum(bool(out.evals) for out in row.outputs) > 1 for row in plan.rows):
        with pytest.raises(UserError, match="uses an evaluation in two steps"):
            run(plan, x, "v", estimates=estimates)
        return
    assert torch.equal(run(plan, x, "v"), run(plan, x, "v", estimates=estimates))


def test_dynamic_threshold_is_neutral_inside_its_bounds() -> None:
    """With percentile 1 and |x0| ≤ 1 nothing is clamped and s = 1; the network's answer, read as
    x0, stays there."""
    plan, x = DDIM().plan(GRIDS["vp continuous"]), state(3, GRIDS["vp continuous"])
    monitor = Monitor(images=True)
    plain = run(plan, x, "x0", estimates=[monitor])
    assert max(float(seen.high.max()) for seen in monitor.seen) < 1
    assert min(float(seen.low.min()) for seen in monitor.seen) > -1
    assert torch.equal(plain, run(plan, x, "x0", estimates=[DynamicThreshold(1.0)]))


@pytest.mark.parametrize("kind", KINDS)
def test_transforms_that_are_not_neutral_do_change_the_result(kind: Kind) -> None:
    """The other side of the identities: each of them can fail."""
    plan, x = DDIM().plan(FINITE), state(3, FINITE)
    plain = run(plan, x, kind)
    others = [
        run(plan, x, kind, displacements=[Momentum(-0.3)]),
        run(plan, x, kind, displacements=[PositiveNegative(-0.3)]),
        run(plan, x, kind, estimates=[Threshold(0.05)]),
        run(GradientEstimation(2.0).rewrite(plan), x, kind),
        run(GradientEstimation(2.0, last="plain").rewrite(plan), x, kind),
    ]
    if (
        kind == "eps"
    ):  # otherwise the network's x0 is within ±1, which dynamic thresholding leaves alone
        others.append(run(plan, x, kind, estimates=[DynamicThreshold(0.3)]))
    results = [plain, *others]
    for i, a in enumerate(results):
        for b in results[:i]:
            assert float((a - b).abs().max()) > 1e-6


def chain() -> dict[str, list[Estimate] | list[Displacement]]:
    return {"estimates": [Threshold(1.5)], "displacements": [Momentum(-0.3)]}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("solver", SOLVERS)
def test_batch_split_and_permutation_change_no_bit(solver: Solver, dtype: torch.dtype) -> None:
    plan, x = solver.plan(FINITE), state(7, FINITE, dtype)
    indices = [4, 0, 9, 2, 11, 3, 2**33 + 1]

    def part(chosen: list[int]) -> Tensor:
        return run(plan, x[chosen], "v", samples=[indices[i] for i in chosen], **chain())  # type: ignore[arg-type]

    whole = part(list(range(7)))
    assert torch.equal(whole, torch.cat([part([0]), part([1, 2]), part([3, 4, 5, 6])]))
    shuffled = [5, 2, 6, 0, 3, 1, 4]
    assert torch.equal(whole[shuffled], part(shuffled))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_run_resumed_from_states_and_history_is_the_same(solver: Solver) -> None:
    """An executor started at any row with another's base, state and history goes on as that one
    does."""
    plan, x = solver.plan(FINITE), state(2, FINITE)
    noise = Keyed(5, torch.arange(2))
    whole = Executor(plan, x, noise=noise, dtype=x.dtype)
    while not whole.done:
        if whole.ask().index:
            resumed = Executor(
                plan,
                whole.ask().x,
                base=whole.x,
                history=list(whole._history),
                first_row=whole.ask().index,
                noise=noise,
                dtype=x.dtype,
            )
            assert (resumed.point, resumed.committed) == (whole.point, whole.committed)
            query = whole.ask()
            resumed.tell(answer(query.x, query.at, "eps"))
            whole.tell(answer(query.x, query.at, "eps"))
            assert torch.equal(resumed.x, whole.x)
            assert resumed.done or torch.equal(resumed.ask().x, whole.ask().x)
        else:
            query = whole.ask()
            whole.tell(answer(query.x, query.at, "eps"))
    assert torch.equal(whole.x, run(plan, x, "eps"))


@pytest.mark.parametrize(
    "solver", solvers(lambda s: s.name in ("ab", "dpmpp", "unipc", "heun", "pndm", "plms"))
)
def test_gradient_estimation_refuses_what_has_a_history(solver: Solver) -> None:
    plan = solver.plan(FINITE)
    simple = all(
        len(r.outputs) == 1 and r.outputs[0].commit and len(r.outputs[0].evals) == 1
        for r in plan.rows
    )
    if simple:
        assert GradientEstimation(2.0).rewrite(plan).nfe == plan.nfe
        return
    with pytest.raises(UserError, match=r"history-free step.*force"):
        GradientEstimation(2.0).rewrite(plan)


def test_forced_gradient_estimation_corrects_the_newest_evaluation() -> None:
    """Over AB2 on ε: c0·(γe0 + (1 − γ)e1) + c1·e1."""
    plan = build("ab", {"order": 2}).plan(FINITE)
    forced = GradientEstimation(1.7, force=True).rewrite(plan)
    for before, after in zip(plan.rows[1:-1], forced.rows[1:-1], strict=True):
        (c0, c1), (d0, d1) = before.outputs[0].evals, after.outputs[0].evals
        assert before.basis == after.basis == "eps"
        assert d0 == pytest.approx(1.7 * c0, rel=1e-14)
        assert d1 == pytest.approx(c1 - 0.7 * c0, rel=1e-14)
