"""Grids that are laid out in the noise-to-signal ratio σ̃ = σ/α."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np

from diffdescent.core.options import In
from diffdescent.core.process import Process

from .base import End, Grid, register
from .build import Snap, check_steps, from_ratios, from_times, ratio_range


@register("loglinear")
def loglinear(
    process: Process,
    steps: int,
    *,
    start: float | None = None,
    last: float | None = None,
    end: End = "first",
    rule: Literal["halfway", "released"] = "halfway",
    snap: bool = True,
) -> Grid:
    """σ̃ log-uniform, the grid of the gradient-estimation paper (arXiv 2306.04848, section 5).

    ``halfway`` (the experiments): N values from ``start`` (40) to ``last`` = √(σ̃(⌊T/N⌋)·σ̃(0)),
    then the end at t = 0; each value goes to the first index whose σ̃ is larger. ``released`` (the
    authors' diffusers scheduler): start 8.35, last = σ̃(⌊T/N⌋), the first index whose σ̃ is at
    least the value. ``last=`` overrides either rule. Without discrete training steps T counts as
    1000 and nothing is snapped.

    Args:
        process: which noise levels there are.
        steps: N, the steps of the grid.
        start: σ̃ of the first level; None is the rule's.
        last: σ̃ of the last level; None is the rule's.
        end: where it ends: "zero" (σ = 0), "first" (the lowest trained level), or a σ̃.
        rule: halfway or released, as above.
        snap: whether levels move to trained times.

    Returns:
        The grid, in float64 on the CPU.
    """
    high = start if start is not None else (40.0 if rule == "halfway" else 8.35)
    known = process.trained_times
    if known is not None:
        if snap:
            check_steps(process, steps)
        table = process.ratio(known)
        first, at_skip = float(table[0]), float(table[min(len(table) - 1, len(table) // steps)])
    else:
        first = float(process.ratio(process.t_min))
        at_skip = float(
            process.ratio(process.t_min + (process.t_max - process.t_min) / max(steps, 2))
        )
    if last is None:
        last = math.sqrt(first * at_skip) if rule == "halfway" else at_skip
    high, low = ratio_range(process, high, last, "loglinear")
    ratios = np.geomspace(high, low, steps) if steps > 1 else np.array([high])
    if snap and known is not None:
        if rule == "halfway":
            index = np.searchsorted(table, ratios, side="right")
        else:  # on rounded values: the last ratio equals a table entry, up to its last bits
            index = np.searchsorted(table * (1 + 1e-12), ratios, side="left")
        times = known[np.minimum(index, len(table) - 1)]
        return from_times(process, times, end, "loglinear")
    return from_ratios(process, ratios, end, "loglinear", snap=False)


@register("karras")
def karras(
    process: Process,
    steps: int,
    *,
    start: float | None = None,
    last: float | None = None,
    rho: Annotated[float, In(0, ends="()", hint="7 is the paper's")] = 7.0,
    snap: Snap = False,
    end: End = "zero",
) -> Grid:
    """σ̃_i = (start^{1/ρ} + i/(N−1)·(last^{1/ρ} − start^{1/ρ}))^ρ (Karras et al. 2022, eq. 5).

    ``snap=up`` takes the first trained index that is at least as noisy. With ``start=80,
    last=0.002, end=first`` that is the EDM grid of the gradient-estimation paper's experiments
    (arXiv 2306.04848, section 5); its last value falls on the end, so N evaluations need N + 1
    ``steps``.

    Args:
        process: which noise levels there are.
        steps: N, the steps of the grid.
        start: σ̃ of the first level; None is the process's highest.
        last: σ̃ of the last level; None is the process's lowest.
        rho: ρ > 0; larger ones put more steps at low noise.
        snap: whether levels move to trained times: to the nearest, to the next noisier ("up"), or
            not at all.
        end: where it ends: "zero" (σ = 0), "first" (the lowest trained level), or a σ̃.

    Returns:
        The grid, in float64 on the CPU.
    """
    high, low = ratio_range(process, start, last, "karras")
    ramp = np.linspace(0, 1, steps)
    ratios = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    ratios[0] = high  # the power's last bits
    if steps > 1:
        ratios[-1] = low
    return from_ratios(process, ratios, end, "karras", snap)


@register("exponential")
def exponential(
    process: Process,
    steps: int,
    *,
    start: float | None = None,
    last: float | None = None,
    snap: Snap = False,
    end: End = "zero",
) -> Grid:
    """σ̃ log-uniform from ``start`` to ``last`` (the process's own range), then the end.

    Args:
        process: which noise levels there are.
        steps: N, the steps of the grid.
        start: σ̃ of the first level; None is the process's highest.
        last: σ̃ of the last level; None is the process's lowest.
        snap: whether levels move to trained times: to the nearest, to the next noisier ("up"), or
            not at all.
        end: where it ends: "zero" (σ = 0), "first" (the lowest trained level), or a σ̃.

    Returns:
        The grid, in float64 on the CPU.
    """
    high, low = ratio_range(process, start, last, "exponential")
    ratios = np.geomspace(high, low, steps) if steps > 1 else np.array([high])
    return from_ratios(process, ratios, end, "exponential", snap)


@register("logsnr")
def logsnr(
    process: Process,
    steps: int,
    *,
    start: float | None = None,
    last: float | None = None,
    snap: Snap = False,
) -> Grid:
    """λ uniform: N + 1 levels from ``start`` to ``last``, which is the end (DPM-Solver's
    ``logSNR``).

    Args:
        process: which noise levels there are.
        steps: N, the steps of the grid.
        start: σ̃ of the first level; None is the process's highest.
        last: σ̃ of the last level; None is the process's lowest.
        snap: whether levels move to trained times: to the nearest, to the next noisier ("up"), or
            not at all.

    Returns:
        The grid, in float64 on the CPU.
    """
    high, low = ratio_range(process, start, last, "logsnr")
    ratios = np.geomspace(high, low, steps + 1)
    return from_ratios(process, ratios[:-1], low, "logsnr", snap)
