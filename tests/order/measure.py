"""The order at which a solver converges: the slope of its error in the number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from diffdescent.core.executor import Executor
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Basis
from diffdescent.core.process import Point, Process
from diffdescent.core.solvers import Solver, Spacing
from diffdescent.core.transforms import Displacement, Rewrite, Transform
from tests.order.levels import HIGH, MIDDLE, PROCESS, level_grid
from tests.order.problems import GAUSSIANS, Problem

FLOOR = 1e-11
PAD = 4
STEPS = (24, 48, 96, 192, 384)
SETTLED = 0.05
PROBLEM = Problem()


def settled_slope(error: Callable[[int], float], steps: Sequence[int] = STEPS) -> float:
    """−Δ log(error)/Δ log(N) on ever finer grids, once two neighbouring slopes agree.

    It stops at the rounding floor and at the last of ``steps``. Whether it has settled is decided
    without looking at what the solver declares.
    """
    errors, slopes = [error(steps[0])], [math.inf]
    for coarse, fine in pairwise(steps):
        errors.append(error(fine))
        if errors[-1] < FLOOR:
            break
        slopes.append(math.log(errors[-2] / errors[-1]) / math.log(fine / coarse))
        if abs(slopes[-1] - slopes[-2]) < SETTLED:
            break
    assert len(slopes) > 1, f"errors {errors} are at the rounding floor: coarser grids are needed"
    return slopes[-1]


def kept_before(plan: Plan, first_row: int) -> list[tuple[Point, Basis]]:
    """Where the evaluations in the history were taken, and as what they are kept, newest first."""
    history: list[tuple[Point, Basis]] = []
    for row in plan.rows[:first_row]:
        newest = (row.at, row.keep_basis or row.basis)
        history = [newest if k == 0 else history[k - 1] for k in row.keep]
    return history


def commits_before(plan: Plan, first_row: int) -> list[Point]:
    return [out.point for row in plan.rows[:first_row] for out in row.outputs if out.commit]


def exact_evaluation(at: Point, basis: Basis) -> Tensor:
    x = PROBLEM.exact(at)
    return PROBLEM.predict(x, at).to(basis, x)


def seeded(plan: Plan, displacements: Sequence[Displacement] = ()) -> Executor:
    """An executor after PAD committed steps, its states and its history taken from the exact
    flow."""
    first = next(i for i in range(len(plan.rows)) if len(commits_before(plan, i)) >= PAD)
    return Executor(
        plan,
        PROBLEM.exact(plan.rows[first].at),
        base=PROBLEM.exact(commits_before(plan, first)[-1]),
        history=[exact_evaluation(*kept) for kept in kept_before(plan, first)],
        first_row=first,
        displacements=displacements,
        dtype=torch.float64,
    )


def _run(executor: Executor, last: float) -> None:
    """Advance until the committed state has reached the level σ̃ = ``last`` (from above or,
    inverting, from below)."""
    sign = 1 if executor.plan.grid.descending else -1
    while not executor.done and sign * (executor.point.ratio - last) > 1e-12 * last:
        query = executor.ask()
        executor.tell(PROBLEM.predict(query.x, query.at))


def signed_error(
    solver: Solver,
    spacing: Spacing,
    n: int,
    *,
    cold: bool,
    process: Process = PROCESS,
    transforms: Sequence[Transform] = (),
    inverse: bool = False,
) -> Tensor:
    """Computed minus exact state in σ̃-coordinates, (d,): of a whole run, or of its interior with
    an exact history.

    ``inverse`` runs the same levels from the lowest to the highest.
    """
    start, pad = (MIDDLE, 0) if cold else (HIGH, PAD)
    grid = level_grid(solver.variable, spacing, n, start, pad, process)
    grid = grid.reversed() if inverse else grid
    plan = solver.plan(grid)
    for transform in transforms:
        plan = transform.rewrite(plan) if isinstance(transform, Rewrite) else plan
    moves = [t for t in transforms if isinstance(t, Displacement)]
    if cold:
        executor = Executor(
            plan, PROBLEM.exact(grid.points[0]), displacements=moves, dtype=torch.float64
        )
    else:
        executor = seeded(plan, moves)
    _run(executor, grid.points[pad + n].ratio)
    end = executor.point
    assert abs(end.ratio / grid.points[pad + n].ratio - 1) < 0.1, (
        "the run has not reached the end of the interval"
    )
    return (executor.x - PROBLEM.exact(end))[0] / end.alpha


def slopes(error: Callable[[int], Tensor], steps: Sequence[int] = STEPS) -> tuple[float, float]:
    """The order on the Gaussians and on the mixtures."""
    error = lru_cache(error)
    linear, bent = slice(GAUSSIANS), slice(GAUSSIANS, None)
    return settled_slope(lambda n: float(error(n)[linear].norm()), steps), settled_slope(
        lambda n: float(error(n)[bent].norm()), steps
    )
