"""Mean and variance of a stochastic method's states, without sampling.

Over a Gaussian denoiser a state is linear in (1, ξ_T, z_1, z_2, …), so the executor itself
propagates the coefficients: the "image" of each coordinate is its vector of them. The mean is the
first one, the variance the sum of the others' squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffdescent.core.executor import Executor
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.process import Point


@dataclass
class UnitDraws:
    """Every new (step, draw) key answers with the next unit vector; a repeated key with the same
    one."""

    width: int
    seen: dict[tuple[int, int], int] = field(default_factory=dict)

    def initial(self, shape: Sequence[int]) -> Tensor:
        raise AssertionError("the initial state is given")

    def __call__(self, x: Tensor, step: int, draw: int, src: Point, dst: Point) -> Tensor:
        column = self.seen.setdefault((step, draw), 2 + len(self.seen))
        z = torch.zeros(len(x), self.width, dtype=torch.float64)
        z[:, column] = 1.0
        return z


def draws(plan: Plan) -> int:
    """How many outputs add noise."""
    outputs = (*plan.start, *(out for row in plan.rows for out in row.outputs))
    return sum(bool(out.noise) for out in outputs)


def gaussian(mean: Tensor, variance: Tensor, x: Tensor, at: Point) -> Prediction:
    """The denoiser of N(mean, variance), coordinate by coordinate, on vectors of coefficients (d,
    K)."""
    total = at.alpha**2 * variance + at.sigma**2
    x0 = (at.alpha * variance / total)[:, None] * x
    x0[:, 0] += mean * at.sigma**2 / total
    return Prediction(x0, conversion("x0", at))


def propagate(plan: Plan, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance (d,) of the result for data N(mean, variance), x_T drawn from the exact
    marginal."""
    width = 2 + draws(plan)
    first = plan.grid.points[0]
    x = torch.zeros(len(mean), width, dtype=torch.float64)
    x[:, 0] = first.alpha * mean
    x[:, 1] = (first.alpha**2 * variance + first.sigma**2).sqrt()
    executor = Executor(plan, x, noise=UnitDraws(width), dtype=torch.float64)
    while not executor.done:
        query = executor.ask()
        executor.tell(gaussian(mean, variance, query.x, query.at))
    return executor.x[:, 0], (executor.x[:, 1:] ** 2).sum(1)
