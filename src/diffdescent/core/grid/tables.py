"""Grids of given levels: explicit ones, and published tables."""

from __future__ import annotations

import numpy as np

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.process import ArrayLike, Process

from .base import EXPLICIT, End, Grid, register
from .build import Snap, from_ratios, known_times


@register(EXPLICIT)
def explicit_values(
    process: Process, steps: int, *, t: tuple[float, ...] = (), ratio: tuple[float, ...] = ()
) -> Grid:
    """Exactly the given times ``t``, or noise-to-signal ratios σ/α, the last one being the end;
    ``steps`` is unused.

    Args:
        process: which noise levels there are.
        steps: unused.
        t: times, falling; the last is the end.
        ratio: σ/α, falling; the last is the end.

    Returns:
        The grid, in float64 on the CPU.

    Raises:
        UserError: unless one of the two lists is given, with at least two levels in falling order.
    """
    if bool(t) == bool(ratio):
        raise UserError(
            "An explicit grid needs its levels: give t=[999, 500, 0] or ratio=[80, 5, 0], the end"
            " included."
        )
    grid = explicit(process, t) if t else explicit_ratios(process, ratio)
    if not grid.descending:
        raise UserError(
            "An explicit grid must fall from noise to data; write its levels in falling order."
        )
    return grid


def explicit(process: Process, times: ArrayLike, name: str = EXPLICIT) -> Grid:
    """A grid of exactly the given times, the last one being the end."""
    t = known_times(process, np.asarray(times, dtype=np.float64))
    alpha, sigma = process.alpha_sigma(t)
    return Grid(process, t, alpha, sigma, name)


def explicit_ratios(process: Process, ratios: ArrayLike, name: str = EXPLICIT) -> Grid:
    """A grid of exactly the given σ̃ = σ/α, the last one being the end."""
    r = np.asarray(ratios, dtype=np.float64)
    if r.size and not r.min() >= 0:
        raise UserError(f"Noise-to-signal ratios must be at least 0, not {r.min():g}.")
    alpha, sigma = process.scaled(r)
    return Grid(process, process.t_of_ratio(r), alpha, sigma, name)


AYS: dict[str, tuple[float, ...]] = {
    "sd1": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
    "svd": (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}
"""Align Your Steps: the published 10-step σ̃ of three models (Sabour et al. 2024, arXiv
2404.14507)."""


@register("ays")
def ays(
    process: Process, steps: int, *, model: str = "sd1", snap: Snap = False, end: End = "zero"
) -> Grid:
    """Align Your Steps: log σ̃ linear in the step index between the published levels; the end
    replaces the last.

    Args:
        process: which noise levels there are.
        steps: N, the steps of the grid.
        model: whose published levels: sd1, sdxl or svd.
        snap: whether levels move to trained times: to the nearest, to the next noisier ("up"), or
            not at all.
        end: where it ends: "zero" (σ = 0), "first" (the lowest trained level), or a σ̃.

    Returns:
        The grid, in float64 on the CPU.
    """
    if model not in AYS:
        raise unknown("Align Your Steps model", model, AYS)
    table = np.log(np.asarray(AYS[model]))
    ratios = np.exp(np.interp(np.linspace(0, 1, steps + 1), np.linspace(0, 1, len(table)), table))
    return from_ratios(process, ratios[:-1], end, "ays", snap)
