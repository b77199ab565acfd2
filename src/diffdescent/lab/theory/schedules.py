"""Admissible schedules: how fast noise may be removed while the error model holds (arXiv
2306.04848, section 4).

DDIM is gradient descent on ½dist² with the step size β = 1 − σ̃_s/σ̃_t. When the denoiser's
relative error is η and holds within the band dist/ν ≤ √n σ̃ ≤ ν dist, the distances after the steps
i = N, …, t lie between Π(1 − β_i(1 + η)) and Π(1 + β_i(η − 1)) of the first one, while σ̃ is at Π(1
− β_i). A schedule is (η, ν)-admissible when for every t

    (1/ν) Π(1 + β_i(η − 1)) ≤ Π(1 − β_i) ≤ ν Π(1 − β_i(η + 1)),

so that the band cannot be left whatever the denoiser does within its error. What the grid
``admissible`` is built of (:func:`greatest_factor`, :func:`least_steps`) lives with that grid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.core.grid.admissible import (
    check_error_model,
    greatest_factor,
    least_steps,
    statement,
)
from diffdescent.core.process import Array, ArrayLike

__all__ = [
    "Bounds",
    "Check",
    "check",
    "distance_bounds",
    "greatest_factor",
    "greatest_step",
    "least_band",
    "least_steps",
    "statement",
    "step_sizes",
]


def greatest_step(eta: float, nu: float, steps: int) -> float:
    """β* = c/(η + c) with c = 1 − ν^{−1/N}: the greatest constant step size that is admissible for
    N steps.

    1 where η = 0 (an exact projection may be taken at once).

    Args:
        eta: relative error of the denoiser as a projection, ≥ 0.
        nu: how far the noise level may be from the distance, as a factor ≥ 1.
        steps: N.

    Returns:
        β* in (0, 1].

    Raises:
        UserError: η < 0, ν < 1 or N < 1.
    """
    check_error_model(eta, nu)
    if steps < 1:
        raise UserError(f"A schedule needs at least 1 step, not {steps}.")
    if eta == 0:
        return 1.0
    c = -math.expm1(-math.log(nu) / steps)
    return c / (eta + c)


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

    Args:
        ratios: σ̃ (N + 1,), falling.
        eta: one number, or one per step (N,).

    Returns:
        Lower and upper bounds of dist(x)/dist(x_N) after each step, (N,) each.
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

    Args:
        ratios: σ̃ after each step, (N + 1,), falling.
        eta: relative error of the denoiser as a projection.
        nu: how far the noise level may be from the distance, as a factor.

    Returns:
        A :class:`Check`: which steps are admissible, and by how much.

    Raises:
        UserError: η < 0, ν < 1, and ratios that do not fall.
    """
    check_error_model(eta, nu)
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
