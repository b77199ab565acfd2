"""The grid whose steps are admissible: how fast noise may be removed while the error model of arXiv
2306.04848, section 4, holds.

DDIM is gradient descent on ½dist² with the step size β = 1 − σ̃_s/σ̃_t. With a denoiser whose
relative error is η in the band dist/ν ≤ √n σ̃ ≤ ν dist, N steps of one size lower σ̃ by at most
:func:`greatest_factor` before the band may be left. What else follows from the model is in
``diffdescent.theory``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.core.options import In
from diffdescent.core.process import Array, Process

from .base import Grid, register
from .build import from_ratios, require_finite


def check_error_model(eta: float, nu: float) -> None:
    """Raise :class:`UserError` unless η ≥ 0 and ν ≥ 1, both finite."""
    if not (0 <= eta < math.inf and 1 <= nu < math.inf):
        raise UserError(
            f"The error model needs η ≥ 0 and ν ≥ 1, not η = {eta}, ν = {nu}; typical are 0.2"
            " and 2."
        )


def greatest_factor(eta: float, nu: float, steps: int | None = None) -> float:
    """σ̃_N/σ̃_0: by which factor N admissible steps lower the noise at most, (1 + c/η)^N.

    ``steps`` None: the least bound for any number of steps and any schedule, ν^{1/η}, which none
    attains. (For N steps a constant β is the best schedule: what a step costs of log ν is convex in
    its log σ̃_t/σ̃_s, with slope η at 0.) Infinite for η = 0 and wherever it exceeds the range of
    floating point.

    Args:
        eta: relative error of the denoiser as a projection, ≥ 0.
        nu: how far the noise level may be from the distance, as a factor ≥ 1.
        steps: N; None gives the bound for any number of steps.

    Returns:
        The factor, ≥ 1; infinite for η = 0 and beyond the range of floating point.
    """
    check_error_model(eta, nu)
    if eta == 0:
        return math.inf
    once = math.log(nu) / eta
    power = once if steps is None else steps * math.log1p(-math.expm1(-math.log(nu) / steps) / eta)
    return math.exp(power) if power < 700 else math.inf


def least_steps(eta: float, nu: float, ratio: float) -> int | None:
    """The least N with an admissible schedule that lowers σ̃ by the factor ``ratio``; None where no
    N has one.

    Args:
        eta: relative error of the denoiser as a projection, ≥ 0.
        nu: how far the noise level may be from the distance, as a factor ≥ 1.
        ratio: by which factor σ̃ is to fall, ≥ 1.

    Returns:
        N, or None.

    Raises:
        UserError: unless the ratio is at least 1 and finite.
    """
    check_error_model(eta, nu)
    if not 1 <= ratio < math.inf:
        raise UserError(f"A schedule lowers σ/α by a finite factor of at least 1, not {ratio}.")
    if ratio == 1 or eta == 0:
        return 1
    if ratio >= greatest_factor(eta, nu):
        return None
    high = 1
    while greatest_factor(eta, nu, high) < ratio:
        high *= 2
        if high > 2**40:  # within the last bits of the bound
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if greatest_factor(eta, nu, middle) >= ratio else (middle, high)
    return high


def statement(eta: float, nu: float, ratio: float) -> str:
    """One sentence for people: how many steps a factor of ``ratio`` needs, or why no number of them
    is enough.

    Args:
        eta: relative error of the denoiser as a projection, ≥ 0.
        nu: how far the noise level may be from the distance, as a factor ≥ 1.
        ratio: by which factor σ̃ is to fall, ≥ 1.

    Returns:
        The sentence.
    """
    steps = least_steps(eta, nu, ratio)
    limit = greatest_factor(eta, nu)
    if steps is None:
        return (
            f"With η = {eta:g} and ν = {nu:g} no schedule of any number of steps is admissible for"
            f" a factor of {ratio:.6g}: even infinitely many steps lower σ/α by less than ν^(1/η) ="
            f" {limit:.6g}."
        )
    bound = "" if math.isinf(limit) else f" (any number of steps: less than {limit:.6g})"
    return (
        f"With η = {eta:g} and ν = {nu:g} a factor of {ratio:.6g} needs at least {steps}"
        f" steps{bound}."
    )


def admissible_ratios(
    eta: float,
    nu: float,
    steps: int,
    low: float,
    high: float,
    start: float | None,
    last: float | None,
) -> tuple[Array, str | None]:
    """N + 1 log-uniform σ̃ with the greatest range that is admissible, and what had to give way.

    ``low`` and ``high`` bound the process's own range. With neither ``start`` nor ``last`` the grid
    ends at ``low`` and starts as high as N steps can come from; with one of them, the other
    follows.

    Raises:
        UserError: with the least number of steps or why none is enough, when both are given and too
            far apart.
    """
    factor = greatest_factor(eta, nu, steps)
    if start is not None and last is not None:
        if not 0 < last < start < math.inf:
            raise UserError(
                f"The grid 'admissible' needs 0 < last < start < ∞, not last={last:g} and"
                f" start={start:g}."
            )
        if start / last > factor * (1 + 1e-12):
            raise UserError(
                f"{steps} steps are not admissible from σ/α = {start:g} to {last:g}; they allow a"
                f" factor of {factor:.4g}. {statement(eta, nu, start / last)}"
            )
        return np.geomspace(start, last, steps + 1), None
    if start is not None:
        wanted = min(low, start / 2)
        end = max(wanted, start / factor)
        note = None if end == wanted else f"it ends at σ/α = {end:.4g}, not {wanted:.4g}"
        ratios = np.geomspace(start, end, steps + 1)
    else:
        end = low if last is None else last
        begin = require_finite(min(high, end * factor), "admissible")
        note = None if begin == high else f"it starts at σ/α = {begin:.4g}, not {high:.4g}"
        ratios = np.geomspace(begin, end, steps + 1)
    why = f": η = {eta:g} and ν = {nu:g} allow a factor of {factor:.4g} in {steps} steps"
    return ratios, None if note is None else note + why


@register("admissible")
def admissible(
    process: Process,
    steps: int,
    *,
    eta: Annotated[float, In(0, ends="[)")] = 0.06,
    nu: Annotated[float, In(1, ends="[)")] = 4.0,
    start: Annotated[float, In(0, ends="()")] | None = None,
    last: Annotated[float, In(0, ends="()")] | None = None,
    snap: bool = False,
) -> Grid:
    """σ̃ log-uniform with a step size that is (η, ν)-admissible (arXiv 2306.04848, section 4; see
    ``diffdescent.theory``).

    N + 1 levels, the last of which is the end: from ``start`` to ``last`` where both are given,
    which is refused when no such schedule is admissible. Otherwise the range is the greatest that N
    admissible steps allow: down to the process's lowest level from as high as possible (what gave
    way is noted), or down from ``start`` alone. A start far below the process's noisiest level is
    no pure noise: sample from there with an image and a ``strength``.

    η = 0.06 is about what 95 % of the ideal denoiser's states on CIFAR-10 stay within
    (docs/theory.md); ten steps then span the whole range of a linear VP process.

    Args:
        process: which noise levels there are.
        steps: N, the steps of the grid.
        eta: relative error of the denoiser as a projection, ≥ 0.
        nu: how far the noise level may be from the distance, as a factor ≥ 1.
        start: σ̃ of the first level; None is as high as is admissible.
        last: σ̃ of the end; None is the process's lowest, where ``start`` allows it.
        snap: whether levels move to trained times.

    Returns:
        The grid, in float64 on the CPU.
    """
    low, high = float(process.ratio(process.t_min)), float(process.ratio(process.t_max))
    ratios, note = admissible_ratios(eta, nu, steps, low, high, start, last)
    grid = from_ratios(process, ratios[:-1], float(ratios[-1]), "admissible", snap)
    return grid if note is None else replace(grid, notes=(*grid.notes, note))
