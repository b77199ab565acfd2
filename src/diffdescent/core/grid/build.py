"""What grid builders share: the end, without repeated levels; levels from times or from ratios."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.core.process import Array, Point, Process

from .base import End, Grid

Snap = bool | Literal["up"]
"""Whether levels move to trained times: to the nearest (True), to the next that is at least as
noisy ("up"), or not at all (False)."""

_ROUNDING = 1e-9
"""By how much a level may be off where it was computed, relatively."""

_FLOAT32 = 1e-6
"""By how much a time may be off that went through float32, as a share of the process's length."""


def _unique(values: Array, keep_ratio: Array) -> tuple[Array, int]:
    """Drop values that do not lower the ratio further; how many were dropped."""
    keep = np.concatenate(([True], np.diff(keep_ratio) < 0))
    return values[keep], int((~keep).sum())


def _check_falling(ratios: Array, name: str) -> None:
    rises = ratios[1:] > ratios[:-1] * (1 + _ROUNDING)
    if rises.any():
        i = int(rises.argmax())
        raise UserError(
            f"The levels of the grid {name!r} rise at step {i}, where σ/α = {ratios[i]:.6g} is"
            f" followed by {ratios[i + 1]:.6g}; give them in falling order, from noise to data."
        )


def known_times(process: Process, times: Array) -> Array:
    """``times`` no lower than the data's, and inside a process that is bounded; the last bits of
    float32 are cut off.

    Raises:
        UserError: a time outside it.
    """
    low, high = process.t_data, process.t_max if process.bounded else math.inf
    if not times.size:
        return times
    slack = _FLOAT32 * (process.t_max - low)
    # The comparison is also false for NaN.
    if not (times.max() <= high + slack and times.min() >= low - slack):
        raise UserError(
            f"Times must lie between {low:.10g} (the data) and {high:.10g}, not"
            f" {times.min():.10g} … {times.max():.10g}."
        )
    return np.asarray(np.clip(times, low, high))


def from_times(
    process: Process, times: Array, end: End, name: str, ratios: Array | None = None
) -> Grid:
    """The grid ``name`` that evaluates at ``times``, falling, and stops at ``end``.

    ``ratios`` are the exact σ̃ at the times, where these are known better than the process gives
    them. Repeated levels and those below the end are removed, and the grid's notes say so.

    Raises:
        UserError: levels that rise, for times outside the process, and where no level is left.
    """
    notes: tuple[str, ...] = ()
    if ratios is None:
        times = known_times(process, times)
    given = process.ratio(times) if ratios is None else ratios
    _check_falling(given, name)
    times, dropped = _unique(times, given)
    if ratios is not None:
        ratios, _ = _unique(ratios, given)
    if dropped:
        notes = (f"{dropped} duplicate level{'s' * (dropped > 1)} removed: {len(times)} are left",)
    alpha, sigma = process.alpha_sigma(times) if ratios is None else process.scaled(ratios)
    last = _end_point(process, end)
    with np.errstate(divide="ignore"):
        above = sigma / alpha > last.ratio
    if not above.all():
        notes += (
            f"{int((~above).sum())} level(s) at or below the end σ/α = {last.ratio:.4g} removed",
        )
        times, alpha, sigma = times[above], alpha[above], sigma[above]
    if len(times) == 0:
        raise UserError(
            f"The grid {name!r} has no level above its end σ/α = {last.ratio:.4g}; lower end=."
        )
    t, alpha, sigma = (np.append(a, b) for a, b in zip((times, alpha, sigma), last, strict=True))
    return Grid(process, t, alpha, sigma, name, notes)


def _end_point(process: Process, end: End) -> Point:
    if end == "first":
        return process.point(process.t_min)
    ratio = 0.0 if end == "zero" else float(end)
    if ratio < 0:
        raise UserError(f"A grid cannot end at σ/α = {ratio}; give a number of at least 0.")
    return process.at_ratio(ratio)


def check_steps(process: Process, steps: int) -> None:
    """Raise :class:`UserError` where a network of discrete steps knows fewer than ``steps``."""
    known = process.trained_times
    if known is not None and steps > len(known):
        raise UserError(
            f"{steps} steps are more than the {len(known)} the model was trained on; ask for at"
            f" most {len(known)}."
        )


def require_finite(start: float, name: str) -> float:
    """``start``, the highest σ̃ of the grid ``name``. Raises :class:`UserError` for ∞."""
    if not math.isfinite(start):
        raise UserError(
            f"The grid {name!r} cannot start at σ/α = ∞ (pure noise); give start=, for example"
            " start=80."
        )
    return start


def ratio_range(
    process: Process, start: float | None, low: float | None, name: str
) -> tuple[float, float]:
    """The highest and the lowest σ̃ of the grid ``name``: given, or the process's own.

    Raises:
        UserError: where they are infinite, zero or out of order.
    """
    high = float(process.ratio(process.t_max)) if start is None else float(start)
    low = float(process.ratio(process.t_min)) if low is None else float(low)
    require_finite(high, name)
    if not 0 < low < high:
        raise UserError(
            f"The grid {name!r} needs 0 < its lowest σ/α < its start, not {low:.4g} and {high:.4g}."
        )
    return high, low


def from_ratios(process: Process, ratios: Array, end: End, name: str, snap: Snap) -> Grid:
    """The grid ``name`` that evaluates at the noise-to-signal ``ratios``, falling, and stops at
    ``end``; with ``snap`` at the trained times nearest to them, with ``snap="up"`` at the next
    ones that are at least as noisy.

    Otherwise as :func:`from_times`. Levels above the noisiest trained one are noted.
    """
    times = process.t_of_ratio(ratios)
    if snap and process.trained_times is not None:
        snapped = process.snapped(times, "noisier" if snap == "up" else "nearest")
        return from_times(process, snapped, end, name)
    grid = from_times(process, times, end, name, ratios)
    beyond = int((grid.ratio > process.ratio(process.t_max) * (1 + 1e-9)).sum())
    if not beyond:
        return grid
    note = (
        f"{beyond} level(s) above the noisiest one that the model was trained on, which it"
        " takes for that one"
    )
    return replace(grid, notes=(*grid.notes, note))
