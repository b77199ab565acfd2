"""The metrics of posterior samples against the exact posterior."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffdescent.evaluate import wasserstein

from .metric import PosteriorTask, least_for, places, register_posterior

DIRECTIONS = 256
"""Of the sliced Wasserstein distance."""


@register_posterior("mean_error", "Error of the posterior mean / its own size", ideal=0)
def mean_error(task: PosteriorTask) -> Tensor:
    """(‖m − E[x|y]‖² − tr Ĉov/n)/‖E[x|y]‖², m the mean of n samples and Ĉov their covariance.

    The error that n samples have by chance is taken off, so that the mean over measurements is
    that of the method, and may come out below zero by chance. It is a square: 0.0004 is 2 %.
    """
    samples, exact = task.samples.flatten(2), task.truth.mean.flatten(1)
    by_chance = samples.var(0).sum(1) / len(samples)
    squared = (samples.mean(0) - exact).square().sum(1)
    return (squared - by_chance) / exact.square().sum(1)


@register_posterior("spread", "Deviation of the samples / of the posterior", ideal=1)
def spread(task: PosteriorTask) -> Tensor:
    """√(tr Cov of the samples / tr Cov[x | y]): below 1 a method is too sure of itself."""
    return (task.samples.flatten(2).var(0).sum(1) / _total_variance(task)).sqrt()


@register_posterior("swd", "Sliced Wasserstein distance to the posterior", ideal=0)
def swd(task: PosteriorTask) -> Tensor:
    """√(SW²(samples, exact) − SW²(exact, other exact)) with the sign of the difference: what is
    left of the distance to as many samples of the posterior, in units of the pixels."""
    found = []
    for b in range(task.samples.shape[1]):
        mine, floor = (
            wasserstein.sliced_wasserstein(
                one[:, b], task.exact[:, b], directions=DIRECTIONS, seed=task.seed
            )
            ** 2
            for one in (task.samples, task.others)
        )
        found.append(math.copysign(abs(mine - floor) ** 0.5, mine - floor))
    return torch.tensor(found, dtype=torch.float64)


@register_posterior("coverage50", "Coverage of 50 % intervals", ideal=0.5, least=least_for(0.5))
def coverage50(task: PosteriorTask) -> Tensor:
    """The share of a posterior sample's numbers that lie in the central 50 % intervals of the
    method's."""
    return _coverage(task, 0.5)


@register_posterior("coverage90", "Coverage of 90 % intervals", ideal=0.9, least=least_for(0.9))
def coverage90(task: PosteriorTask) -> Tensor:
    """As :func:`coverage50` at 90 %."""
    return _coverage(task, 0.9)


@register_posterior("residual", "Data residual / that of the posterior", ideal=1)
def residual(task: PosteriorTask) -> Tensor:
    """√(mean ‖A x − y‖² of the samples / its expectation under the posterior). Below 1 a method
    fits the noise of y, above it does not reach y.

    Without noise nothing is expected: then it is 1 + ‖A x − y‖/‖y‖.
    """
    mine = task.residuals(task.samples).mean(0)
    if not task.noise:
        return 1 + (mine / task.y.flatten(1).square().sum(1)).sqrt()
    return (mine / _expected_residual(task)).sqrt()


def _expected_residual(task: PosteriorTask) -> Tensor:
    """E[‖A x − y‖² | y], by both sets of posterior samples."""
    both = torch.cat((task.residuals(task.exact), task.residuals(task.others)))
    return both.mean(0)


def _total_variance(task: PosteriorTask) -> Tensor:
    return task.truth.variance.flatten(1).sum(1)


def _coverage(task: PosteriorTask, level: float) -> Tensor:
    ordered = task.samples.flatten(2).sort(0).values
    low, high = (_between(ordered, place) for place in places(len(ordered), level))
    exact = task.exact.flatten(2)
    return ((exact >= low) & (exact <= high)).double().mean((0, 2))


def _between(ordered: Tensor, place: float) -> Tensor:
    """The number at a ``place`` counted from 1, between two of them by a straight line."""
    below = min(max(math.floor(place), 1), len(ordered) - 1) if len(ordered) > 1 else 1
    above = min(below + 1, len(ordered))
    share = min(max(place - below, 0.0), 1.0)
    return torch.lerp(ordered[below - 1], ordered[above - 1], share)
