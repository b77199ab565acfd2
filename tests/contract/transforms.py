"""What every transform keeps, as checks of one class: the suite runs them over all registered ones,
and an author over a new one.

The network answers with a wave of the state, a gradient and a direction of guidance, all sample by
sample, so that a transform of any kind has something to act on.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.executor import Executor
from diffdescent.core.guidance_terms import GuidanceTerms
from diffdescent.core.noise import Keyed
from diffdescent.core.options import options_of
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import Point
from diffdescent.core.recipe import Recipe, parse
from diffdescent.core.solvers import Solver
from diffdescent.core.solvers.ddim import DDIM
from diffdescent.core.transforms import (
    Commit,
    Displacement,
    Estimate,
    Evaluation,
    Rewrite,
    StepParts,
    Transform,
)
from diffdescent.core.weights import effective_weights
from tests.contract.options import refused
from tests.contract.setups import GRIDS, state, wave

GRID = GRIDS["vp, to zero"]
NOISY = DDIM(eta=1.0)
SAMPLES = [4, 0, 9, 2, 11, 3, 2**33 + 1]


def answer(x: Tensor, at: Point) -> Prediction:
    direction = 0.3 * wave(x.flip(-2), at)
    terms = GuidanceTerms(score=0.1 * wave(x.flip(-1, -2), at), direction=direction)
    return Prediction(wave(x, at) + direction, conversion("v", at), guidance=terms)


@dataclass
class Draws:
    """Keyed noise that remembers what it gave."""

    keyed: Keyed
    given: list[Tensor] = field(default_factory=list)

    def initial(self, shape: Sequence[int]) -> Tensor:
        return self.keyed.initial(shape)

    def __call__(self, x: Tensor, step: int, draw: int, src: Point, dst: Point) -> Tensor:
        self.given.append(self.keyed(x, step, draw, src, dst))
        return self.given[-1]


def executor(recipe: Recipe, x: Tensor, samples: Sequence[int], noise: Draws | None = None) -> Any:
    return Executor(
        recipe.plan(GRID),
        x,
        noise=noise or Keyed(5, torch.tensor(list(samples))),
        estimates=recipe.estimates,
        displacements=recipe.displacements,
        dtype=x.dtype,
    )


def run(recipe: Recipe, count: int = 7, chosen: Sequence[int] | None = None) -> Tensor:
    """The result for some of the samples."""
    places = list(range(count)) if chosen is None else list(chosen)
    machine = executor(recipe, state(7, GRID)[places], [SAMPLES[i] for i in places])
    while not machine.done:
        query = machine.ask()
        machine.tell(answer(query.x, query.at))
    result: Tensor = machine.x
    return result


def check_neutral(transform: Transform, solver: Solver = NOISY) -> bool:
    """A neutral transform gives the sampler beneath, bit for bit. Whether the sampler has room for
    it at all."""
    plain = run(Recipe(solver), 3)
    assert plain.isfinite().all()
    try:
        assert torch.equal(plain, run(Recipe(solver, (transform,)), 3)), transform
    except UserError:
        return False
    return True


def check_batch_split(transform: Transform) -> None:
    """A sample's result depends neither on the others of its batch nor on their order, unless the
    transform says so."""
    recipe = Recipe(NOISY, (transform,))
    assert recipe.whole_batch == transform.whole_batch
    if transform.whole_batch:
        return
    whole = run(recipe)
    assert torch.equal(
        whole, torch.cat([run(recipe, chosen=c) for c in ([0], [1, 2], [3, 4, 5, 6])])
    )
    shuffled = [5, 2, 6, 0, 3, 1, 4]
    assert torch.equal(whole[shuffled], run(recipe, chosen=shuffled))


def check_own_state(transform: Transform) -> None:
    """What a transform remembers belongs to one run: two runs that take turns are as two runs."""
    recipe = Recipe(NOISY, (transform,))
    x = state(7, GRID)
    machines = [executor(recipe, x[part], SAMPLES[part]) for part in (slice(0, 3), slice(3, 7))]
    while not machines[0].done:
        for machine in machines:
            query = machine.ask()
            machine.tell(answer(query.x, query.at))
    for machine, chosen in zip(machines, ([0, 1, 2], [3, 4, 5, 6]), strict=True):
        assert torch.equal(machine.x, run(recipe, chosen=chosen))


def check_linear(transform: Transform) -> None:
    """A linear transform's result is Σ of its effective weights times what was evaluated and drawn;
    one that is not has none."""
    recipe = Recipe(NOISY, (transform,))
    if not transform.linear:
        with pytest.raises(UserError, match=f"{transform.name!r} has no effective weights"):
            effective_weights(recipe, GRID)
        return
    weights = effective_weights(recipe, GRID)
    x = state(3, GRID)
    draws, evaluations = Draws(Keyed(5, torch.arange(3))), []
    machine = executor(recipe, x, range(3), draws)
    while not machine.done:
        query = machine.ask()
        prediction = Prediction(wave(query.x, query.at), conversion("v", query.at))
        evaluations.append(prediction.to("x0", query.x))
        machine.tell(prediction)
    terms = [x, *evaluations, *draws.given]
    counts = np.concatenate([weights.start[-1:], weights.evals[-1], weights.noise[-1]])
    total = sum(float(c) * term for c, term in zip(counts, terms, strict=True))
    assert torch.allclose(machine.x, torch.as_tensor(total), rtol=0, atol=1e-9)


def check_pure(transform: Transform) -> None:
    """Nothing that is handed over changes, and the same question has the same answer."""
    if isinstance(transform, Rewrite):
        plan = DDIM(eta=1.0).plan(GRID)
        before = deepcopy(plan.rows)
        assert transform.rewrite(plan).rows == transform.rewrite(plan).rows
        assert plan.rows == before
    src, dst = GRID.points[2:4]
    some = torch.randn(7, 4, 2, 3, 5, generator=torch.Generator().manual_seed(1)).double()
    if isinstance(transform, Estimate):
        asked = Evaluation(some[0], some[1], src, 2, 2, some[2])
        first, second = _twice(lambda: transform.correct(_fresh(asked)), asked)
        assert first is None or torch.equal(first, second)
    if isinstance(transform, Displacement):
        made = transform.init(DDIM(eta=1.0).plan(GRID))
        for step in range(2):  # the first step's state, and one that has seen a step
            parts = StepParts(*some[3:6])
            commit = Commit(step, some[0], src, some[1], dst, some[2], parts)
            (x, after), (again, _) = _twice(lambda: transform.update(made, commit), commit, made)  # noqa: B023
            assert torch.equal(x, again)
            assert x.shape == some[1].shape
            made = after


def _fresh(asked: Evaluation) -> Evaluation:
    return Evaluation(asked.x0, asked.x, asked.at, asked.step, asked.index, asked.direction)


def _twice(ask: Any, *given: object) -> tuple[Any, Any]:
    before = _tensors(deepcopy(given))
    answers = ask(), ask()
    after = _tensors(given)
    assert len(before) == len(after)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    return answers


def _tensors(thing: object) -> list[Tensor]:
    if isinstance(thing, Tensor):
        return [thing]
    if isinstance(thing, (tuple, list)):
        return [t for item in thing for t in _tensors(item)]
    return [t for item in vars(thing).values() for t in _tensors(item)] if _has_parts(thing) else []


def _has_parts(thing: object) -> bool:
    return isinstance(thing, (Evaluation, Commit))


def check_text(transform: Transform) -> None:
    """What is written reads back as the same."""
    recipe = Recipe(DDIM(), (transform,))
    assert parse(str(recipe)) == recipe


def check_refusals(cls: type[Any]) -> None:
    """Every option refuses what its annotation does not allow, in one sentence that names it."""
    for option, hint in options_of(cls).items():
        wrong = refused(hint)
        assert wrong
        for value in wrong:
            with pytest.raises(UserError) as caught:
                cls(**{option: value})
            message = str(caught.value)
            assert f"option {option!r} of {cls.name!r} must " in message
            assert "\n" not in message
            assert message.endswith((".", "?"))
