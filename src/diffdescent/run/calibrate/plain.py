"""Any deterministic fixed sampler as rows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch

from diffdescent.core.executor import Executor
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Prediction, conversion
from diffdescent.core.spectrum import Bands
from diffdescent.core.spectrum.axes import Axes, identity
from diffdescent.core.spectrum.fitted import FittedRow


@dataclass(frozen=True)
class PlainRows:
    """Rows of plain numbers, in the form of a fitted solver."""

    levels: tuple[float, ...]
    end: float
    start: tuple[tuple[float, ...], ...]
    rows: tuple[FittedRow, ...]
    axes: Axes
    bands: Bands


def as_rows(plan: Plan, channels: int) -> PlainRows:
    """A deterministic plan with one evaluation at each of falling levels as rows over the states
    that the network is asked at.

    Every such state is linear in the start and the evaluations, y_n = u_n·y_T + Σ_i v_{n,i}·ε_i;
    the numbers come from the executor on basis vectors. With base_n = u_{n+1}/u_n the rest are the
    coefficients of the evaluations.
    """
    width = 1 + plan.nfe
    unit = torch.eye(width, dtype=torch.float64)
    executor = Executor(plan, unit[:1], dtype=torch.float64, record=False)
    states = []
    while not executor.done:
        query = executor.ask()
        states.append(query.x[0] / query.at.alpha)
        answer = unit[1 + query.index : 2 + query.index]
        executor.tell(Prediction(answer, conversion("eps", query.at)))
    states.append(executor.x[0] / executor.point.alpha)
    rows = []
    for n, (here, there) in enumerate(pairwise(states)):
        base = float(there[0] / here[0])
        weights = (there - base * here)[1 : n + 2].flip(0)
        rows.append(FittedRow(((base,),), tuple(((float(w),),) for w in weights)))
    start = float(states[0][0]) * plan.grid.points[0].alpha
    one = identity(channels)
    axes = Axes(one.name, one.matrix, (0,) * channels)
    levels = tuple(row.at.ratio for row in plan.rows)
    return PlainRows(levels, executor.point.ratio, ((start,),), tuple(rows), axes, Bands((1.0,)))
