"""Noise levels as k-diffusion writes them: σ = σ/α, or a flow's time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid, explicit, explicit_ratios
from diffdescent.core.process import VP, Point, Process
from diffdescent.core.recipe import grid_named, parse_grid


@dataclass(frozen=True)
class Space:
    """How k-diffusion writes a process's levels and states.

    σ = σ/α and x = x_t/α, which is x0 + σ ε; for flows the time itself and the state as it is.
    """

    process: Process

    def sigma(self, point: Point) -> float:
        """The level's σ."""
        return point.sigma if self.process.straight else point.ratio

    def scale(self, point: Point) -> float:
        """x_t = scale·x."""
        return 1.0 if self.process.straight else point.alpha

    def grid(self, sigmas: Sequence[float]) -> Grid:
        """A grid of exactly these levels."""
        make = explicit if self.process.straight else explicit_ratios
        return make(self.process, sigmas)

    def point(self, sigma: float) -> Point:
        """The level at σ."""
        if self.process.straight:
            return self.process.point(sigma)
        alpha, scaled = self.process.scaled(sigma)
        return Point(float(self.process.t_of_ratio(sigma)), float(alpha), float(scaled))


def read_levels(sigmas: Tensor | Sequence[float]) -> tuple[float, ...]:
    """The noise levels as Python numbers: the one time that a run reads from the device."""
    # A copy of what is not a tensor: numpy's read-only arrays make torch warn.
    table = torch.as_tensor(
        sigmas if isinstance(sigmas, Tensor) else np.array(sigmas), dtype=torch.float64
    )
    if table.ndim != 1 or len(table) < 2:
        raise UserError(
            "sigmas must list at least two levels, the start and the end, not have shape"
            f" {tuple(table.shape)}; for 10 steps give 11."
        )
    values = tuple(table.tolist())
    wrong = next((i for i, v in enumerate(values) if not (math.isfinite(v) and v >= 0)), None)
    if wrong is not None:
        raise UserError(
            f"sigmas[{wrong}] is {values[wrong]:g}; every level must be a finite number of at"
            " least 0."
        )
    falls = values[1] < values[0]
    for i, (a, b) in enumerate(pairwise(values)):
        if a == b or (b < a) != falls:
            raise UserError(
                "sigmas must fall strictly from noise to data (or rise strictly, to invert), but"
                f" sigmas[{i}] = {a:g} is followed by sigmas[{i + 1}] = {b:g}; remove repeated"
                " levels and sort the rest."
            )
    return values


def get_sigmas(n: int, grid: str = "normal", process: Process | None = None) -> Tensor:
    """The levels of ``grid`` for ``n`` steps as k-diffusion's sigmas, float32 of shape (n + 1,).

    ``process`` is the model's (default: VP with the scaled-linear betas of latent diffusion);
    ``"normal"`` is uniform in its time, what k-diffusion's ``DiscreteSchedule.get_sigmas`` gives.

    Args:
        n: steps.
        grid: a grid's text, ``"normal"``, or ``"calibrated('FILE')"`` for the levels of that
            sampler, however many ``n`` says.
        process: the model's; None is VP with the scaled-linear betas of latent diffusion.

    Returns:
        σ (n + 1,), falling, float32.

    Raises:
        UserError: unknown grids, and levels at infinity (zero terminal SNR).
    """
    space = Space(process or VP.named("scaled_linear"))
    found = parse_grid(grid_named(grid), space.process, n)
    values = [space.sigma(p) for p in found.points]
    if math.isinf(values[0]):
        raise UserError(
            f"The grid {grid!r} starts at σ = ∞, where x = x0 + σ ε has no size; use one with"
            " start=."
        )
    return torch.tensor(values, dtype=torch.float32)


def discrete(sigmas: Tensor) -> VP:
    """The VP process of a k-diffusion model's table of levels (``model.sigmas``, ascending): ᾱ =
    1/(1 + σ²).

    Args:
        sigmas: σ (T,), ascending.

    Returns:
        The process, with time as the index in the table.
    """
    values = sigmas.detach().double().cpu().numpy()
    return VP.from_alpha_bar(1 / (1 + values**2))
