"""Admissible schedules: how fast noise may be removed while the error model holds (arXiv
2306.04848, section 4).

DDIM is gradient descent on ½dist² with the step size β = 1 − σ̃_s/σ̃_t. When the denoiser's
relative error is η and holds within the band dist/ν ≤ √n σ̃ ≤ ν dist, the distances after the steps
i = N, …, t lie between Π(1 − β_i(1 + η)) and Π(1 + β_i(η − 1)) of the first one, while σ̃ is at Π(1
− β_i). A schedule is (η, ν)-admissible when for every t

    (1/ν) Π(1 + β_i(η − 1)) ≤ Π(1 − β_i) ≤ ν Π(1 − β_i(η + 1)),

so that the band cannot be left whatever the denoiser does within its error.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.core.process import Array, ArrayLike

if TYPE_CHECKING:
    from . import Grid


def _check(eta: float, nu: float) -> None:
    if not (0 <= eta < math.inf and 1 <= nu < math.inf):
        raise UserError(
            f"The error model needs η ≥ 0 and ν ≥ 1, not η = {eta}, ν = {nu}; typical are 0.2"
            " and 2."
        )


def greatest_step(eta: float, nu: float, steps: int) -> float:
    """β* = c/(η + c) with c = 1 − ν^{−1/N}: the greatest constant step size that is admissible for
    N steps.

    1 where η = 0 (an exact projection may be taken at once). Raises :class:`UserError` for η < 0, ν
    < 1 or N < 1.
    """
    _check(eta, nu)
    if steps < 1:
        raise UserError(f"A schedule needs at least 1 step, not {steps}.")
    if eta == 0:
        return 1.0
    c = -math.expm1(-math.log(nu) / steps)
    return c / (eta + c)


def reach(eta: float, nu: float, steps: int | None = None) -> float:
    """σ̃_N/σ̃_0: by which factor N admissible steps lower the noise at most, (1 + c/η)^N.

    ``steps`` None: the least bound for any number of steps and any schedule, ν^{1/η}, which none
    attains. (For N steps a constant β is the best schedule: what a step costs of log ν is convex in
    its log σ̃_t/σ̃_s, with slope η at 0.) Infinite for η = 0 and wherever it exceeds the range of
    floating point.
    """
    _check(eta, nu)
    if eta == 0:
        return math.inf
    once = math.log(nu) / eta
    power = once if steps is None else steps * math.log1p(-math.expm1(-math.log(nu) / steps) / eta)
    return math.exp(power) if power < 700 else math.inf


def least_steps(eta: float, nu: float, ratio: float) -> int | None:
    """The least N with an admissible schedule that lowers σ̃ by the factor ``ratio``; None where no
    N has one.

    Raises :class:`UserError` unless the ratio is at least 1 and finite.
    """
    _check(eta, nu)
    if not 1 <= ratio < math.inf:
        raise UserError(f"A schedule lowers σ/α by a finite factor of at least 1, not {ratio}.")
    if ratio == 1 or eta == 0:
        return 1
    if ratio >= reach(eta, nu):
        return None
    high = 1
    while reach(eta, nu, high) < ratio:
        high *= 2
        if high > 2**40:  # within the last bits of the bound
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reach(eta, nu, middle) >= ratio else (middle, high)
    return high


def statement(eta: float, nu: float, ratio: float) -> str:
    """One sentence for people: how many steps a factor of ``ratio`` needs, or why no number of them
    is enough."""
    steps = least_steps(eta, nu, ratio)
    limit = reach(eta, nu)
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


def step_sizes(ratios: ArrayLike) -> Array:
    """β_i = 1 − σ̃_{i+1}/σ̃_i for falling ``ratios`` σ̃ (N + 1,), from noise to data; β = 1 from an
    infinite start."""
    r = np.asarray(ratios, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.isinf(r[:-1]), 1.0, 1 - r[1:] / r[:-1]))


@dataclass(frozen=True)
class Bounds:
    """Relative to dist(x_N), at each level after a step: (N,) arrays. ``sigma`` is √nσ̃ where
    √nσ̃_N = dist(x_N).

    ``lower`` is 0 from the first step on where a step may pass the set (β(1 + η) > 1).
    """

    lower: Array
    sigma: Array
    upper: Array


def distance_bounds(ratios: ArrayLike, eta: float | ArrayLike) -> Bounds:
    """DDIM's bounds Π(1 − β_i(1 + η_i)) ≤ dist(x)/dist(x_N) ≤ Π(1 + β_i(η_i − 1)) (theorem 4.1),
    after each step.

    ``eta`` is one number or one per step. They are attained by e = (1 ± η)∇f/σ
    (:class:`.adversary.Adversary`).
    """
    beta, error = step_sizes(ratios), np.asarray(eta, dtype=np.float64)
    factors = (np.maximum(1 - beta * (1 + error), 0), 1 - beta, 1 + beta * (error - 1))
    return Bounds(*(np.asarray(np.cumprod(f), dtype=np.float64) for f in factors))


@dataclass(frozen=True)
class Check:
    """Whether a schedule is (η, ν)-admissible.

    ``step`` is the first one (from 0, at the noisiest level) after which the band may be left, None
    if there is none; ``side`` says how: ``"near"`` √nσ̃ > ν dist (the denoiser overshot towards the
    set), or ``"far"`` √nσ̃ < dist/ν (it fell short), which comes first at σ̃ = 0 alone: with r =
    βη/(1 − β) a step multiplies √nσ̃/dist by at most 1/(1 − r) and by no less than 1/(1 + r).
    ``far`` and ``near`` (N,) are the worst √nσ̃/dist relative to the band after each step,
    (√nσ̃/dist)·ν and (√nσ̃/dist)/ν: admissible while far ≥ 1 ≥ near.
    """

    eta: float
    nu: float
    beta: Array
    far: Array
    near: Array
    step: int | None
    side: str | None

    @property
    def admissible(self) -> bool:
        return self.step is None

    @property
    def used(self) -> float:
        """How much of the band may be used up, as a share of log ν; above 1 it may be left."""
        if self.nu == 1:
            return 0.0 if self.admissible else math.inf
        with np.errstate(divide="ignore"):
            worst = max(np.log(self.near * self.nu).max(), -np.log(self.far / self.nu).min())
        return float(worst) / math.log(self.nu)

    def sentence(self, ratios: ArrayLike) -> str:
        """What was found, for people; ``ratios`` are those that were checked."""
        head = f"dmissible with η = {self.eta:g} and ν = {self.nu:g}"
        if self.step is None:
            return f"A{head}: up to {100 * self.used:.0f} % of the band is used."
        src, dst = np.asarray(ratios, dtype=np.float64)[self.step : self.step + 2]
        if dst == 0:
            why = "at σ = 0 the band has no width, and no error would be allowed"
        else:
            why = (
                "√nσ may exceed ν·dist, as a denoiser that overshoots by η comes nearer to the set"
                " than σ says"
            )
        return (
            f"Not a{head}: it fails at step {self.step + 1} of {len(self.beta)} "
            f"(σ/α {src:.4g} → {dst:.4g}, step size {self.beta[self.step]:.4g}): {why}."
        )


def check(ratios: ArrayLike, eta: float, nu: float) -> Check:
    """Check falling noise-to-signal ratios (N + 1,) step by step; rounding of one part in 10⁹ is
    forgiven.

    Raises :class:`UserError` for η < 0, ν < 1, and ratios that do not fall.
    """
    _check(eta, nu)
    r = np.asarray(ratios, dtype=np.float64)
    if r.ndim != 1 or len(r) < 2 or not np.all(np.diff(r) < 0):
        raise UserError("A schedule needs at least two values of σ/α that fall from noise to data.")
    bounds = distance_bounds(r, eta)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = nu * bounds.sigma / bounds.upper
        near = np.where(
            bounds.lower > 0,
            bounds.sigma / (nu * bounds.lower),
            np.where(bounds.sigma > 0, np.inf, 1.0),
        )
    far = np.where(bounds.upper > 0, far, 1.0)  # η = 0 at σ = 0: both are 0
    tiny = 1e-9
    failed = (far < 1 - tiny) | (near > 1 + tiny)
    first = int(failed.argmax()) if failed.any() else None
    side = None if first is None else ("near" if near[first] > 1 + tiny else "far")
    return Check(eta, nu, step_sizes(r), far, near, first, side)


def least_band(ratios: ArrayLike, eta: float) -> float:
    """The least ν with which falling ``ratios`` are (η, ν)-admissible; infinite where a step may
    pass the set.

    The assumption is then needed in the band of that ν, not only where a run happened to be.
    """
    bounds = distance_bounds(ratios, eta)
    with np.errstate(divide="ignore", invalid="ignore"):
        needed = np.maximum(bounds.sigma / bounds.lower, bounds.upper / bounds.sigma)
    return float(np.nan_to_num(needed, nan=1.0, posinf=np.inf).max())


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
    follows. Raises :class:`UserError`, with the least number of steps or why none is enough, when
    both are given and too far apart.
    """
    factor = reach(eta, nu, steps)
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
        begin = min(high, end * factor)
        note = None if begin == high else f"it starts at σ/α = {begin:.4g}, not {high:.4g}"
        ratios = np.geomspace(begin, end, steps + 1)
    why = f": η = {eta:g} and ν = {nu:g} allow a factor of {factor:.4g} in {steps} steps"
    return ratios, None if note is None else note + why


def check_grid(grid: Grid, eta: float, nu: float) -> Check:
    """:func:`check` of a grid of the engine."""
    return check(grid.ratio, eta, nu)
