"""Grids that are laid out in the process's time."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.core.options import In, positive
from diffdescent.core.process import Process, TimeSpacing

from .base import End, Grid, register
from .build import check_steps, from_times


@register("uniform")
def uniform(
    process: Process,
    steps: int,
    *,
    spacing: TimeSpacing = "leading",
    offset: int = 0,
    open: bool = False,
    snap: bool = True,
    interpolation: Literal["log_alpha", "linear"] = "log_alpha",
    end: End = "zero",
) -> Grid:
    """Uniform in time.

    Discrete VP with T trained steps, as diffusers names them: ``leading`` t = i⌊T/N⌋ + offset,
    ``trailing`` t = round(T − iT/N) − 1, ``linspace`` N points from T − 1 to 0. ``open`` lays out N
    + 1 points and leaves the lowest out (what diffusers' multistep schedulers do, and
    ``sgm_uniform``). Where times are not whole (``snap=False``) log ᾱ is linear between trained
    levels, or with ``interpolation="linear"`` σ/α, as in diffusers' σ-schedulers. Continuous
    processes: ``trailing`` is t_max(1 − i/N), the others a linspace from t_max to t_min; a flow's
    shift is applied (:meth:`.Process.uniform_times`).

    Args:
        process: which noise levels there are.
        steps: N, the steps of the grid.
        spacing: leading, trailing or linspace, as above.
        offset: added to the leading times.
        open: whether N + 1 points are laid out and the lowest is left out.
        snap: whether levels move to trained times.
        interpolation: what is linear between trained levels: log ᾱ or σ/α.
        end: where it ends: "zero" (σ = 0), "first" (the lowest trained level), or a σ̃.

    Returns:
        The grid, in float64 on the CPU.
    """
    check_steps(process, steps)
    times = process.uniform_times(steps, spacing, offset=offset, open=open, snap=snap)
    known, ratios = process.trained_times, None
    if interpolation == "linear" and known is not None:
        ratios = np.interp(times, known, process.ratio(known))
    return from_times(process, times, end, "uniform", ratios)


@register("quadratic")
def quadratic(
    process: Process,
    steps: int,
    *,
    fraction: Annotated[float, In(0, 1, "(]")] = 0.8,
    snap: bool = True,
    end: End = "zero",
) -> Grid:
    """Quadratic skip: t = round(linspace(0, √(0.8 T), N)²) (DDIM's CIFAR-10 grid; the momentum
    paper's too).

    It starts at t = 0.8 T. Rounding repeats low indices for many steps; the repeats are removed and
    noted.

    Args:
        process: which noise levels there are.
        steps: N, the steps of the grid.
        fraction: the share of the trained times that is used, in (0, 1].
        snap: whether levels move to trained times.
        end: where it ends: "zero" (σ = 0), "first" (the lowest trained level), or a σ̃.

    Returns:
        The grid, in float64 on the CPU.
    """
    check_steps(process, steps)
    known = process.trained_times
    top = fraction * (process.t_max if known is None else len(known))
    times = np.linspace(math.sqrt(process.t_min), math.sqrt(top), steps)[::-1] ** 2
    if steps == 1:
        times = np.array([top])
    times = process.snapped(times) if snap else times
    return from_times(process, np.minimum(times, process.t_max), end, "quadratic")


@register("quadratic_time")
def quadratic_time(process: Process, steps: int, *, snap: bool = False, end: End = "first") -> Grid:
    """√t uniform in continuous time from the highest to the lowest trained level (DPM-Solver's
    ``time_quadratic``).

    For discrete VP the continuous time is (index + 1)/T. The N + 1 points include the end at the
    lowest level.

    Args:
        process: which noise levels there are.
        steps: N, the steps of the grid.
        snap: whether levels move to trained times.
        end: where it ends: "zero" (σ = 0), "first" (the lowest trained level), or a σ̃.

    Returns:
        The grid, in float64 on the CPU.
    """
    # Counted from the data, which lies one index below the first one of a discrete VP.
    data = process.t_data
    root = np.linspace(math.sqrt(process.t_max - data), math.sqrt(process.t_min - data), steps + 1)
    times = root[:-1] ** 2 + data
    return from_times(process, process.snapped(times) if snap else times, end, "quadratic_time")


@register("ddim")
def ddim_offset(
    process: Process,
    steps: int,
    *,
    start: Annotated[float, positive("try 40")] | None = None,
    snap: bool = True,
    end: End = "first",
) -> Grid:
    """Uniform in t from the level where σ̃ = ``start`` (default: the highest) down; N steps, the
    end included.

    The "DDIM" (157 → 0.002) and "DDIM offset" (40 → 0.002) baselines of the gradient-estimation
    paper, whose .002 is before snapping: the snapped grid ends at t = 0.

    Args:
        process: which noise levels there are.
        steps: N, the steps of the grid.
        start: σ̃ of the first level; None is the process's highest.
        snap: whether levels move to trained times.
        end: where it ends: "zero" (σ = 0), "first" (the lowest trained level), or a σ̃.

    Returns:
        The grid, in float64 on the CPU.
    """
    top = process.t_max if start is None else float(process.t_of_ratio(start))
    if snap:  # to the next level that is at least as noisy, as in the authors' code
        top = float(process.snapped(top, "noisier"))
    times = process.shifted(np.linspace(top, process.t_min, steps + 1)[:-1])
    return from_times(process, process.snapped(times, "cleaner") if snap else times, end, "ddim")


@register("simple")
def simple(process: Process, steps: int, *, end: End = "zero") -> Grid:
    """Every (T/N)-th trained level counted from the noisiest: t = T − 1 − ⌊iT/N⌋ (ComfyUI's
    "simple").

    Args:
        process: which noise levels there are.
        steps: N, the steps of the grid.
        end: where it ends: "zero" (σ = 0), "first" (the lowest trained level), or a σ̃.

    Returns:
        The grid, in float64 on the CPU.
    """
    check_steps(process, steps)
    known = process.trained_times
    if known is None:
        times = process.uniform_times(steps, "trailing")
    else:
        skipped = np.floor(np.arange(steps) * (len(known) / steps)).astype(np.int64)
        times = known[len(known) - 1 - skipped]
    return from_times(process, times, end, "simple")


@register("distilled")
def distilled(
    process: Process,
    steps: int,
    *,
    of: Annotated[int, In(1, hint="LCM and TCD are distilled at 50 levels")] = 50,
    end: End = "zero",
) -> Grid:
    """N of the ``of`` levels at which a network was distilled, evenly spaced from the noisiest (Luo
    et al. 2023, arXiv 2310.04378; diffusers' LCM and TCD schedulers, which call it
    ``original_inference_steps``).

    The levels are those of ``uniform(spacing=trailing)`` in ``of`` steps.

    Args:
        process: which noise levels there are.
        steps: N, the steps of the grid.
        of: at how many levels the network was distilled.
        end: where it ends: "zero" (σ = 0), "first" (the lowest trained level), or a σ̃.

    Returns:
        The grid, in float64 on the CPU.

    Raises:
        UserError: more steps than levels.
    """
    if steps > of:
        raise UserError(
            f"A network distilled at {of} levels has no grid of {steps} steps; ask for at most"
            f" {of}, or give of=, the levels at which it was distilled."
        )
    check_steps(process, steps)
    chosen = np.floor(np.arange(steps) * (of / steps)).astype(np.int64)
    return from_times(process, process.uniform_times(of, "trailing")[chosen], end, "distilled")
