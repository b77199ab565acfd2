"""Plans whose coefficients depend on the frequency, and what runs them."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import diffdescent as dd
from diffdescent import UserError
from diffdescent.core.network import Network
from diffdescent.core.plan import Output, Plan, Row
from diffdescent.core.process import VP
from diffdescent.core.recipe import parse
from diffdescent.core.spectrum import Bands, Spectral, named_axes
from diffdescent.core.transforms.pxp import PxP

PROCESS = VP.named()
GRID = dd.grid("loglinear", PROCESS, 4)


def spectral_plan(plan: Plan, spread: float, channels: int = 3, bands: int = 3) -> Plan:
    """The plan with every coefficient scaled by a factor between 1 and 1 + spread, knot by knot."""
    axes, knots = named_axes("usual", channels), Bands.for_size(8, bands)

    def curves(value: float) -> tuple[tuple[float, ...], ...]:
        factors = [1 + spread * i / max(bands - 1, 1) for i in range(bands)]
        return tuple(tuple(value * f for f in factors) for _ in range(axes.count))

    def changed(out: Output) -> Output:
        coefficients = Spectral(axes, knots, curves(out.base), tuple(map(curves, out.evals)))
        return dataclasses.replace(out, spectral=coefficients)

    rows = tuple(
        dataclasses.replace(row, outputs=tuple(map(changed, row.outputs))) for row in plan.rows
    )
    return plan.with_rows(rows, "spectral")


def network(channels: int = 3) -> Network:
    def module(x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None) -> torch.Tensor:
        return torch.tanh(x + x.roll(1, -1) * 0.3)

    return Network(module, process=PROCESS, kind="eps", shape=(channels, 8, 8))


def run(plan: Plan, n: int = 3, channels: int = 3, **options: object) -> torch.Tensor:
    model, x = network(channels), dd.run.noise_for(0, range(n), (channels, 8, 8)).double()
    executor = dd.Executor(plan, x, dtype=torch.float64, **options)  # type: ignore[arg-type]
    while not executor.done:
        query = executor.ask()
        executor.tell(model(query.x, query.at))
    return executor.x


@pytest.mark.parametrize("recipe", ["ddim", "plms", "ab(order=3)"])
def test_equal_curves_are_the_plain_plan(recipe: str) -> None:
    plan = parse(recipe).plan(GRID)
    assert torch.allclose(run(spectral_plan(plan, 0.0)), run(plan), atol=1e-10)


def test_a_row_multiplies_each_frequency_by_its_own_number() -> None:
    plan = spectral_plan(parse("ab(order=2)").plan(GRID), 0.2, channels=1, bands=2)
    flat = torch.full((1, 1, 8, 8), 0.5, dtype=torch.float64)  # frequency zero alone
    executor = dd.Executor(plan, flat, dtype=torch.float64)
    plain = dd.Executor(plan.at_band(0, 0), flat, dtype=torch.float64)
    while not executor.done:
        for one in (executor, plain):
            query = one.ask()
            one.tell(network(1)(query.x, query.at))
    assert torch.allclose(executor.x, plain.x, atol=1e-12)
    assert not torch.allclose(run(plan, channels=1), run(plan.at_band(0, 0), channels=1))


def test_batches_change_nothing() -> None:
    plan = spectral_plan(parse("plms").plan(GRID), 0.1)
    whole = run(plan, 5)
    assert torch.equal(run(plan, 2), whole[:2])


def test_momentum_and_thresholds_act_on_spectral_rows() -> None:
    plan = spectral_plan(parse("ab(order=2)").plan(GRID), 0.1)
    neutral = parse("ddim | momentum(beta=0.0) | threshold(value=100)")
    chain = {"estimates": neutral.estimates, "displacements": neutral.displacements}
    assert torch.allclose(run(plan, **chain), run(plan), atol=1e-12)
    flat = spectral_plan(parse("ab(order=2)").plan(GRID), 0.0)
    real = parse("ddim | momentum(beta=0.3) | threshold(value=0.5)")
    chain = {"estimates": real.estimates, "displacements": real.displacements}
    plain = run(parse("ab(order=2)").plan(GRID), **chain)
    assert torch.allclose(run(flat, **chain), plain, atol=1e-10)


def test_an_edited_state_is_seen() -> None:
    plan = spectral_plan(parse("ab(order=2)").plan(GRID), 0.1)
    results = []
    for in_place in (False, True):
        x = dd.run.noise_for(0, range(2), (3, 8, 8)).double()
        executor, model = dd.Executor(plan, x, dtype=torch.float64), network()
        while not executor.done:
            query = executor.ask()
            sample = query.x.mul_(0.9) if in_place else query.x * 0.9
            executor.tell(model(sample, query.at), None if in_place else sample)
        results.append(executor.x)
    assert torch.allclose(*results, atol=1e-12)


def test_what_makes_no_sense_is_refused() -> None:
    plan = spectral_plan(parse("ab(order=2)").plan(GRID), 0.1)
    with pytest.raises(UserError, match="spatial frequency"):
        parse("ge").transforms[0].rewrite(plan)  # type: ignore[union-attr]
    with pytest.raises(UserError, match="pxp"):
        run(plan, displacements=[PxP()])
    with pytest.raises(UserError, match="eps=recompute"):
        run(plan, estimates=parse("ddim | threshold(eps=keep)").estimates)
    with pytest.raises(UserError, match="3 channels"):
        run(plan, channels=4)
    with pytest.raises(UserError, match="need images"):
        dd.Executor(plan, torch.zeros(2, 5))


def test_mistakes_of_a_solver_are_found() -> None:
    plan = spectral_plan(parse("ab(order=2)").plan(GRID), 0.1)
    out = plan.rows[0].outputs[0]
    spectral = out.spectral
    assert spectral is not None

    def with_first(**changes: object) -> Plan:
        new = dataclasses.replace(out, **changes)  # type: ignore[arg-type]
        rows: tuple[Row, ...] = (dataclasses.replace(plan.rows[0], outputs=(new,)), *plan.rows[1:])
        return plan.with_rows(rows, "wrong")

    for changes in (
        {"noise": 1.0},
        {"current": 1.0},
        {"evals": ()},
        {"spectral": dataclasses.replace(spectral, axes=named_axes("identity", 2))},
    ):
        with pytest.raises(ValueError):
            with_first(**changes)
    with pytest.raises(ValueError):
        dataclasses.replace(spectral, base=((1.0,),))
