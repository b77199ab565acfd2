"""The ask/tell machine: edits, rows of several outputs, norms and the report of what went wrong."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from diffdescent.base.errors import UserError
from diffdescent.core.executor import Executor
from diffdescent.core.linear import combine
from diffdescent.core.noise import Keyed
from diffdescent.core.plan import Output, Plan, Row
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.solvers.ddim import DDIM, DDPM
from diffdescent.core.transforms import Momentum, Threshold
from tests.contract.setups import GRIDS, answer, first_step, run, state
from tests.registry import build

GRID = GRIDS["vp continuous"]


def two_stage_plan() -> Plan:
    """Heun's method by hand on the first two levels: a provisional state, then a commit from base,
    current and both."""
    grid = replace(GRID, t=GRID.t[:2], alpha=GRID.alpha[:2], sigma=GRID.sigma[:2])
    a, b = grid.points
    stage = Row(
        0, a, "eps", (Output(b, commit=False, base=0.5, current=0.25, evals=(0.125,)),), keep=(0,)
    )
    end = Row(0, b, "eps", (Output(b, base=2.0, current=3.0, evals=(5.0, 7.0)),))
    return Plan(grid, (stage, end), name="by hand")


def test_rows_read_base_current_and_history() -> None:
    """Numbers by hand: x = 1, e = 10 then 100."""
    plan = two_stage_plan()
    executor = Executor(plan, torch.ones(1, 1), dtype=torch.float64)
    first = executor.ask()
    executor.tell(Prediction(torch.full((1, 1), 10.0), conversion("eps", first.at)))
    second = executor.ask()
    assert second.at == plan.rows[1].at
    assert float(second.x) == 0.5 + 0.25 + 1.25
    assert float(executor.x) == 1.0
    assert not executor.done
    executor.tell(Prediction(torch.full((1, 1), 100.0), conversion("eps", second.at)))
    assert executor.done
    assert float(executor.x) == 2.0 * 1.0 + 3.0 * 2.0 + 5.0 * 100.0 + 7.0 * 10.0


def test_a_row_with_two_outputs() -> None:
    """Predictor–corrector: the commit becomes the base of the next output; the evaluated state
    stays the current."""
    grid = replace(GRID, t=GRID.t[:3], alpha=GRID.alpha[:3], sigma=GRID.sigma[:3])
    a, b, c = grid.points
    predict = Row(0, a, "eps", (Output(b, commit=False, base=2.0),), keep=(0,))
    correct = Output(b, base=1.0, evals=(1.0, 1.0))
    ahead = Output(c, base=10.0, current=100.0, evals=(1000.0,))
    plan = Plan(grid, (predict, Row(1, b, "eps", (correct, ahead))), name="by hand")
    executor = Executor(plan, torch.ones(1, 1), dtype=torch.float64)
    for value in (3.0, 4.0):
        query = executor.ask()
        executor.tell(Prediction(torch.full((1, 1), value), conversion("eps", query.at)))
    corrected = 1.0 + 4.0 + 3.0
    assert float(executor.x) == 10 * corrected + 100 * 2.0 + 1000 * 4.0
    assert executor.committed == 2


def test_an_edit_of_the_evaluated_state_shifts_the_base() -> None:
    """In the middle of a step the base moves by the same change; at its start they are one."""
    plan = two_stage_plan()
    executor = Executor(plan, torch.ones(1, 1), dtype=torch.float64)
    query = executor.ask()
    executor.edit(torch.full((1, 1), 4.0))
    assert float(executor.x) == float(executor.ask().x) == 4.0
    executor.tell(Prediction(torch.zeros(1, 1), conversion("eps", query.at)))
    assert float(executor.ask().x) == 3.0  # (0.5 + 0.25)·4
    query = executor.ask()
    executor.tell(
        Prediction(torch.zeros(1, 1), conversion("eps", query.at)), sample=torch.full((1, 1), 3.5)
    )
    assert float(executor.x) == 2.0 * 4.5 + 3.0 * 3.5


def test_tell_with_a_sample_is_an_edit() -> None:
    """And handing back the state that was asked for changes nothing."""
    plan, x = build("dpmpp", {"order": 2}).plan(GRID), state(2, GRID)
    told, edited, plain = (
        Executor(plan, x, dtype=x.dtype, displacements=[Momentum(-0.3)]) for _ in range(3)
    )
    for i in range(plan.nfe):
        shift = 0.1 if i == 3 else 0.0
        query = told.ask()
        sample = query.x + shift if shift else query.x
        told.tell(answer(sample, query.at, "eps"), sample=sample)
        edited.edit(sample)
        edited.tell(answer(sample, query.at, "eps"))
        query = plain.ask()
        plain.tell(answer(query.x, query.at, "eps"))
    assert torch.equal(told.x, edited.x)
    assert float((told.x - plain.x).abs().max()) > 1e-3
    unedited = run(plan, x, "eps", displacements=[Momentum(-0.3)])
    assert torch.equal(plain.x, unedited)


def test_momentum_measures_from_the_edited_state() -> None:
    """An edit is not a displacement: m after it is (1 − β)·r with r taken from the edited sample,
    plus β·m before."""
    plan, x = DDIM().plan(GRID), state(1, GRID)
    beta = -0.3
    executor = Executor(plan, x, dtype=x.dtype, displacements=[Momentum(beta, warm_start=False)])
    points = GRID.points
    m = torch.zeros_like(x)
    for i, row in enumerate(plan.rows):
        query = executor.ask()
        sample = query.x + 0.05 * i
        prediction = answer(sample, query.at, "eps")
        (out,) = row.outputs
        proposal = out.base * sample + out.evals[0] * prediction.raw
        src, dst = points[i], points[i + 1]
        m = beta * m + (1 - beta) * (sample / src.norm - proposal / dst.norm)
        executor.tell(prediction, sample=sample)
        assert torch.allclose(executor.x, dst.norm * (sample / src.norm - m), rtol=0, atol=1e-12)


def test_the_report_names_step_level_and_samples() -> None:
    plan, x = DDIM().plan(GRID), state(4, GRID)
    executor = Executor(plan, x, dtype=x.dtype)
    while not executor.done:
        query = executor.ask()
        prediction = answer(query.x, query.at, "eps")
        if query.index == 3:
            prediction.raw[1, 0, 0, 0] = math.nan
        if query.index == 5:
            prediction.raw[2, 1, 2, 4] = math.inf
        executor.tell(prediction)
        if query.index < 3:
            executor.check()
    with pytest.raises(UserError, match=r"evaluation 3 \(step 3, t = 0\.62") as caught:
        executor.check()
    assert "1 of 4 samples (1)" in str(caught.value)
    with pytest.raises(UserError, match=r"\(107\)"):
        executor.check([106, 107, 108, 109])
    at = plan.rows[3].at
    assert f"{at.ratio:.4g}" in str(caught.value)


def test_norms_are_those_of_the_raw_output() -> None:
    plan, x = build("heun", {}).plan(GRID), state(3, GRID)
    executor = Executor(plan, x, dtype=x.dtype)
    expected = []
    while not executor.done:
        query = executor.ask()
        prediction = answer(query.x, query.at, "eps")
        expected.append(prediction.raw.flatten(1).norm(dim=1))
        executor.tell(prediction)
    assert torch.allclose(executor.norms, torch.stack(expected), rtol=1e-12, atol=0)
    executor.check()


def test_stochastic_plans_need_noise() -> None:
    with pytest.raises(UserError, match="noise source"):
        Executor(DDPM().plan(GRID), state(1, GRID))


def test_a_learned_variance_that_the_model_lacks_is_refused() -> None:
    plan, x = DDPM(variance="learned").plan(GRID), state(1, GRID)
    with pytest.raises(UserError, match="learned variance"):
        run(plan, x, "eps")


def test_learned_variance_lies_between_small_and_large() -> None:
    """v = −1 is β̃, v = 1 is β, and v = 0 their geometric mean (Nichol and Dhariwal 2021, eq.
    15)."""
    small, large = (DDPM(variance=v).plan(GRID) for v in ("small", "large"))
    x = state(2, GRID)
    noise = Keyed(5, torch.arange(2))
    for fraction in (-1.0, 0.0, 1.0):
        executor = Executor(DDPM(variance="learned").plan(GRID), x, noise=noise, dtype=x.dtype)
        query = executor.ask()
        executor.tell(replace(answer(x, query.at, "eps"), variance=torch.full_like(x, fraction)))
        low, high = (plan.rows[0].outputs[0].noise for plan in (small, large))
        scale = low ** ((1 - fraction) / 2) * high ** ((1 + fraction) / 2)
        (row,) = first_step(small).rows
        bare = replace(
            first_step(small),
            rows=(replace(row, outputs=(replace(row.outputs[0], noise=scale),)),),
        )
        single = Executor(bare, x, noise=noise, dtype=x.dtype)
        single.tell(answer(x, query.at, "eps"))
        assert torch.allclose(executor.x, single.x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_networks_run_in_single(dtype: torch.dtype) -> None:
    """The state and the coefficients stay in float32; only the raw output is of the network's
    dtype."""
    plan, x = DDIM().plan(GRID), state(2, GRID, torch.float32)
    half, single = Executor(plan, x), Executor(plan, x)
    while not half.done:
        query = half.ask()
        raw = answer(query.x, query.at, "eps").raw.to(dtype)
        half.tell(Prediction(raw, conversion("eps", query.at)))
        single.tell(Prediction(raw.float(), conversion("eps", query.at)))
    assert half.x.dtype == torch.float32
    assert torch.equal(half.x, single.x)


def test_undetermined_estimates_are_explained() -> None:
    """ε-networks say nothing about x0 at α = 0."""
    grid = GRIDS["flow, pure noise to data"]
    with pytest.raises(UserError, match=r"leaves x0 undetermined at α = 0"):
        run(DDIM().plan(grid), state(1, grid), "eps")
    assert run(DDIM().plan(grid), state(1, grid), "flow").isfinite().all()


@pytest.mark.parametrize(
    "make", [lambda r: replace(r, keep=(5,)), lambda r: replace(r, outputs=())]
)
def test_a_plan_is_validated(make: object) -> None:
    plan = DDIM().plan(GRID)
    with pytest.raises(ValueError, match=r"row 2"):
        Plan(GRID, (*plan.rows[:2], make(plan.rows[2]), *plan.rows[3:]), name="bad")  # type: ignore[operator]
    nan = replace(plan.rows[1], outputs=(replace(plan.rows[1].outputs[0], base=math.nan),))
    with pytest.raises(ValueError, match=r"row 1 .* not finite"):
        Plan(GRID, (plan.rows[0], nan), name="bad")


def test_thresholding_reaches_history_and_later_evaluations() -> None:
    """AB2 with a clamp, by hand: the history holds the ε of the clamped x0."""
    plan, x, limit = build("ab", {"order": 2}).plan(GRID), state(2, GRID), 0.3
    y, previous = x, None
    for row in plan.rows:
        raw, at = answer(y, row.at, "v").raw, row.at
        x0 = (at.alpha * y - at.sigma * raw).clamp(-limit, limit)
        estimates = {"x0": x0, "eps": (y - at.alpha * x0) / at.sigma}
        (out,) = row.outputs
        new = (out.base + out.current) * y + out.evals[0] * estimates[row.basis]
        if len(out.evals) > 1:
            assert previous is not None
            new = new + out.evals[1] * previous
        y, previous = new, estimates[row.keep_basis or row.basis]
    assert torch.allclose(run(plan, x, "v", estimates=[Threshold(limit)]), y, rtol=0, atol=1e-11)


@pytest.mark.parametrize("numel", [5, 1000, 4 * 65536 + 3, 6 * 65536 + 17])
def test_combine_is_the_same_with_and_without_blocks(numel: int) -> None:
    g = torch.Generator().manual_seed(0)
    terms = [(c, torch.randn(numel, generator=g)) for c in (0.3, -1.7, 2.5, 1e-3)]
    plain = terms[0][1] * terms[0][0]
    for c, x in terms[1:]:
        plain.add_(x, alpha=c)
    assert torch.equal(combine(terms), plain)
    exact = sum(c * x.double() for c, x in terms)
    assert float((combine(terms) - exact).abs().max()) < 1e-5
