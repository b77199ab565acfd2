"""The solution that every sampler is on its way to: many evaluations of a third-order method from
the same noise, under the same guidance."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from diffdescent.core.grid import Grid, explicit_ratios
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import parse_grid
from diffdescent.evaluate.wasserstein import squared_errors
from diffdescent.run import Batch, Run, prepare, watch

from .preparing import Setting

TEACHER = "unipc(order=3)"
KEPT = 16
"""Solutions in memory at a time."""
LOWEST = 0.002
"""σ/α below which nothing is left to see."""


@dataclass(frozen=True)
class Solution:
    """``images`` (n, C, H, W), and the root mean square distance ``error`` to those of half the
    evaluations: about how far they are from the limit, or less."""

    images: Tensor
    error: float


@dataclass(frozen=True)
class Distance:
    """The root mean square distance of a lane's images to the converged ones, of a range of 2, and
    the error of those."""

    value: float
    error: float


@dataclass
class Solutions:
    """Solutions that were made before, the newest :data:`KEPT`."""

    _made: OrderedDict[Hashable, Solution] = field(default_factory=OrderedDict, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def get(self, key: Hashable) -> Solution | None:
        """The one of this key, if it is there."""
        with self._lock:
            found = self._made.get(key)
            if found is not None:
                self._made.move_to_end(key)
            return found

    def keep(self, key: Hashable, solution: Solution) -> None:
        """Keep one, and let the oldest go."""
        with self._lock:
            self._made[key] = solution
            while len(self._made) > KEPT:
                self._made.popitem(last=False)


def key_of(setting: Setting, run: Run) -> Hashable:
    """Everything that a solution follows from."""
    first, last = run.grid.points[0], run.grid.points[-1]
    labels = None if run.inputs.labels is None else tuple(run.inputs.labels.tolist())
    identity = info(setting.model).fingerprint or id(setting.model)
    asked = (setting.guidance, run.seed, run.samples, labels, setting.state.converged)
    return identity, asked, first.alpha, first.sigma, last.sigma


def solve(setting: Setting, run: Run) -> Iterator[int | Solution]:
    """The evaluations of the solution that ``run`` is on its way to, counted, and then the
    solution. Raises :class:`UserError` where the guidance cannot be run so."""
    state, done, found = setting.state, 0, []
    for count in (state.converged // 2, state.converged):
        teacher = prepare(
            setting.model,
            TEACHER,
            guidance=setting.guidance,
            grid=fine_grid(setting.model, run.grid, count),
            samples=run.samples,
            seed=run.seed,
            labels=run.inputs.labels,
            batch_size=run.batch_size,
        )
        for one in watch(teacher):
            if isinstance(one, Batch):
                found.append(one.images)
            else:
                done += 1
                yield done
    rough, fine = found
    yield Solution(fine, rms(rough, fine))


def fine_grid(model: Predictor, grid: Grid, count: int) -> Grid:
    """``count`` steps from the grid's start to its end, even in log σ/α; from pure noise (α = 0)
    the process's usual grid."""
    first, last = float(grid.ratio[0]), float(grid.ratio[-1])
    if not np.isfinite(first):
        return parse_grid(model.process.usual_grid or "uniform", model.process, count)
    low = max(last, float(model.process.ratio(model.process.t_min)), LOWEST)
    if last >= low:
        return explicit_ratios(model.process, np.geomspace(first, last, count + 1))
    return explicit_ratios(model.process, [*np.geomspace(first, low, count), last])


def rms(images: Tensor, others: Tensor) -> float:
    """√ of the mean squared difference of two sets of images."""
    return float(torch.sqrt(squared_errors(images, others).mean()))
