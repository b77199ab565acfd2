"""What a metric of posterior samples is, and the judge that computes all of them.

A metric is one function of a :class:`PosteriorTask`, made known by :func:`register_posterior`; it
then joins the suite over all of them, in which samples of the exact posterior are faultless.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.base.statistics import Estimate, student_mean
from diffdescent.core.operators import Linear
from diffdescent.models.posterior import Posterior


@dataclass(frozen=True, eq=False)
class PosteriorTask:
    """Samples of a method against the exact posterior of B measurements.

    ``samples`` (n, B, *shape) of the method; ``truth`` the :class:`Posterior`; ``operator``, ``y``
    and ``noise`` the measurement. All float64 on the CPU.
    """

    samples: Tensor
    truth: Posterior
    operator: Linear
    y: Tensor
    noise: float
    seed: int = 0

    @cached_property
    def exact(self) -> Tensor:
        """As many samples of the posterior, (n, B, *shape)."""
        return self.truth.sample(len(self.samples), self.seed)

    @cached_property
    def others(self) -> Tensor:
        """Another such set, which shows what a number of samples alone does."""
        return self.truth.sample(len(self.samples), self.seed + 1)

    def residuals(self, samples: Tensor) -> Tensor:
        """‖A x − y‖² of ``samples`` (n, B, *shape), (n, B)."""
        flat = samples.flatten(0, 1)
        y = self.y.repeat(len(samples), *[1] * (self.y.ndim - 1))
        apart = (self.operator.forward(flat) - y).flatten(1).square().sum(1)
        return apart.view(samples.shape[:2])


Compute = Callable[[PosteriorTask], Tensor]


@dataclass(frozen=True)
class PosteriorMetric:
    """``compute`` gives a value of each measurement, (B,); ``ideal`` is what exact samples have;
    ``least`` how many samples it needs."""

    name: str
    title: str
    ideal: float
    compute: Compute
    least: int = 2


POSTERIOR_METRICS: dict[str, PosteriorMetric] = {}
"""The metrics by name."""


def register_posterior(
    name: str, title: str, *, ideal: float, least: int = 2
) -> Callable[[Compute], Compute]:
    """Make a function known as the metric ``name``.

    Raises:
        UserError: a name that is taken.
    """

    def add(compute: Compute) -> Compute:
        if name in POSTERIOR_METRICS:
            raise UserError(f"The metric {name!r} of posteriors is taken; choose another name.")
        POSTERIOR_METRICS[name] = PosteriorMetric(name, title, ideal, compute, least)
        return compute

    return add


def judge_posterior(
    samples: Tensor,
    truth: Posterior,
    operator: Linear,
    y: Tensor,
    noise: float,
    *,
    metrics: Iterable[str] | None = None,
    seed: int = 0,
) -> dict[str, Estimate]:
    """The metrics of ``samples`` (n, B, *shape), each the mean over the B measurements with its
    95 % interval by Student's t; all metrics that n samples allow where none are named.

    ``operator`` is the one that ``truth`` was made with, bound in float64.

    Raises:
        UserError: unknown metrics, shapes that do not fit, NaN, and too few samples.
    """
    expected = (len(truth.measured.values), *truth.shape)
    if samples.ndim != len(expected) + 1 or tuple(samples.shape[1:]) != expected:
        raise UserError(
            f"Posterior samples have shape (n, {', '.join(map(str, expected))}), not"
            f" {tuple(samples.shape)}; stack the samples of every measurement first."
        )
    operator.check(y)
    double = samples.detach().double().cpu()
    if not bool(double.isfinite().all()):
        raise UserError("Some posterior samples hold NaN or Inf; the method has diverged.")
    task = PosteriorTask(double, truth, operator, y.double().cpu(), noise, seed)
    asked = _asked(metrics, len(samples))
    return {m.name: student_mean(np.asarray(m.compute(task).numpy())) for m in asked}


def _asked(metrics: Iterable[str] | None, n: int) -> list[PosteriorMetric]:
    if metrics is None:
        return [m for m in POSTERIOR_METRICS.values() if m.least <= n]
    chosen = []
    for name in metrics:
        if name not in POSTERIOR_METRICS:
            raise unknown("metric of posteriors", name, POSTERIOR_METRICS)
        if n < POSTERIOR_METRICS[name].least:
            raise UserError(
                f"The metric {name!r} needs at least {POSTERIOR_METRICS[name].least} samples of"
                f" each measurement, not {n}; draw more."
            )
        chosen.append(POSTERIOR_METRICS[name])
    return chosen


def places(n: int, level: float) -> tuple[float, float]:
    """Where, among n sorted numbers counted from 1, the central interval lies that holds a further
    one of the same law with probability ``level``: (n + 1)(1 ∓ level)/2."""
    low = (n + 1) * (1 - level) / 2
    return low, n + 1 - low


def least_for(level: float) -> int:
    """The fewest samples that have such an interval."""
    return math.ceil(2 / (1 - level) - 1 - 1e-9)
