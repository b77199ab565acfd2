"""Diffusion processes: how much signal and how much noise there is at each time.

A process says that ``x_t = α(t) x0 + σ(t) ε`` with ``ε ~ N(0, I)``. All of its arithmetic is NumPy
float64 on the host; nothing here touches a device. ``σ̃ = σ/α`` is the noise-to-signal ratio (the
"σ" of variance-exploding samplers) and ``λ = log(α/σ) = −log σ̃`` half the log-SNR.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from diffdescent.base.errors import UserError, unknown

Array = npt.NDArray[np.float64]
ArrayLike = npt.ArrayLike


class Point(NamedTuple):
    """One noise level: the time ``t`` that the network is told, and the state's ``alpha`` and
    ``sigma``."""

    t: float
    alpha: float
    sigma: float

    @property
    def ratio(self) -> float:
        """σ̃ = σ/α, infinite where α = 0."""
        return self.sigma / self.alpha if self.alpha > 0 else math.inf

    @property
    def lam(self) -> float:
        """λ = log(α/σ): +∞ at σ = 0, −∞ at α = 0."""
        if self.sigma == 0:
            return math.inf
        return math.log(self.alpha / self.sigma) if self.alpha > 0 else -math.inf

    @property
    def norm(self) -> float:
        """√(α² + σ²): dividing by it gives VP-normalised coordinates."""
        return math.hypot(self.alpha, self.sigma)


class Process(ABC):
    """α(t), σ(t) and their inverse. ``t`` grows with the noise; ``t_min`` and ``t_max`` bound what
    a network knows."""

    t_min: float
    t_max: float

    @abstractmethod
    def alpha_sigma(self, t: ArrayLike) -> tuple[Array, Array]:
        """α and σ at times ``t`` (same shape as ``t``)."""

    @abstractmethod
    def t_of_ratio(self, ratio: ArrayLike) -> Array:
        """The time at which σ/α equals ``ratio`` (clamped to the process's own range)."""

    def ratio(self, t: ArrayLike) -> Array:
        """σ̃(t) = σ(t)/α(t); infinite where α = 0."""
        alpha, sigma = self.alpha_sigma(t)
        with np.errstate(divide="ignore"):
            return np.asarray(sigma / alpha)

    @abstractmethod
    def ratio_slope(self, t: ArrayLike) -> Array:
        """dσ̃/dt at times ``t``; at a kink, that of the later times."""

    def t_of_lambda(self, lam: ArrayLike) -> Array:
        """The time at which log(α/σ) equals ``lam``."""
        return self.t_of_ratio(np.exp(-np.asarray(lam, dtype=np.float64)))

    def point(self, t: float) -> Point:
        """The noise level at time ``t``."""
        alpha, sigma = self.alpha_sigma(float(t))
        return Point(float(t), float(alpha), float(sigma))

    @abstractmethod
    def scaled(self, ratio: ArrayLike) -> tuple[Array, Array]:
        """(α, σ) of this process's coordinates at noise-to-signal ratio ``ratio``, also outside its
        own range."""


def _vp_ratio_slope(log_bar: Array, log_bar_slope: Array) -> Array:
    """dσ̃/dt = −½ (d log ᾱ/dt)/(√ᾱ √(1 − ᾱ)), from σ̃² = 1/ᾱ − 1; infinite at σ = 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(
            -0.5 * log_bar_slope / (np.exp(0.5 * log_bar) * np.sqrt(-np.expm1(log_bar)))
        )


def _vp_scaled(ratio: ArrayLike) -> tuple[Array, Array]:
    r = np.asarray(ratio, dtype=np.float64)
    alpha = 1.0 / np.hypot(1.0, r)
    sigma = np.where(np.isinf(r), 1.0, np.where(np.isinf(r), 0.0, r) * alpha)
    return np.asarray(alpha), np.asarray(sigma)


Schedule = Literal["linear", "scaled_linear", "cosine", "sigmoid"]


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def make_betas(
    schedule: Schedule = "linear",
    steps: int = 1000,
    start: float | None = None,
    end: float | None = None,
) -> Array:
    """The β_t of a named training schedule, shape ``(steps,)``, float64.

    ``linear``: β from 1e-4 to 0.02 (DDPM; Ho et al. 2020, section 4). ``scaled_linear``: √β linear
    from √8.5e-4 to √0.012 (latent diffusion). ``cosine``: ᾱ(s) = cos²((s + 0.008)/1.008 · π/2), β
    capped at 0.999 (Nichol and Dhariwal 2021, eq. 17; it has no ``start`` and ``end``).
    ``sigmoid``: β = sigmoid of a line from −6 to 6, scaled to [1e-4, 0.02].

    Raises :class:`UserError` for an unknown schedule.
    """
    if schedule == "linear":
        return np.linspace(_or(start, 1e-4), _or(end, 0.02), steps, dtype=np.float64)
    if schedule == "scaled_linear":
        root = np.linspace(
            math.sqrt(_or(start, 0.00085)), math.sqrt(_or(end, 0.012)), steps, dtype=np.float64
        )
        return np.asarray(root**2)
    if schedule == "cosine":
        s = np.arange(steps + 1, dtype=np.float64) / steps
        bar = np.cos((s + 0.008) / 1.008 * math.pi / 2) ** 2
        return np.asarray(np.minimum(1 - bar[1:] / bar[:-1], 0.999))
    if schedule == "sigmoid":
        lo, hi = _or(start, 1e-4), _or(end, 0.02)
        return np.asarray(
            lo + (hi - lo) / (1 + np.exp(-np.linspace(-6, 6, steps, dtype=np.float64)))
        )
    raise unknown("noise schedule", schedule, ("linear", "scaled_linear", "cosine", "sigmoid"))


@dataclass(frozen=True, eq=False)
class VP(Process):
    """Variance preserving, discrete: α² = ᾱ_t, σ² = 1 − ᾱ_t at integer indices ``t = 0 … T−1``.

    Between integers log ᾱ is linear in ``t``. The index is what a network trained on ``T`` steps is
    given; the continuous time of DPM-Solver is ``(t + 1)/T``.

    Raises :class:`UserError` when ``betas`` lie outside (0, 1].
    """

    betas: Array = field(default_factory=make_betas)
    log_alpha_bar: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        betas = np.asarray(self.betas, dtype=np.float64)
        if betas.ndim != 1 or len(betas) < 2 or not np.all((betas > 0) & (betas <= 1)):
            raise UserError(
                "VP needs a vector of at least two betas in (0, 1]; give"
                " betas=make_betas('linear')."
            )
        with np.errstate(divide="ignore"):
            log_bar = np.log1p(-betas).cumsum()
        object.__setattr__(self, "betas", betas)
        object.__setattr__(self, "log_alpha_bar", log_bar)

    @classmethod
    def named(
        cls,
        schedule: Schedule = "linear",
        steps: int = 1000,
        start: float | None = None,
        end: float | None = None,
    ) -> VP:
        """A VP process with the betas of :func:`make_betas`."""
        return cls(make_betas(schedule, steps, start, end))

    @classmethod
    def from_alpha_bar(cls, alpha_bar: ArrayLike) -> VP:
        """A VP process with the given cumulative products ᾱ_0 > ᾱ_1 > … (trained or rescaled
        betas)."""
        bar = np.asarray(alpha_bar, dtype=np.float64)
        return cls(1.0 - bar / np.concatenate(([1.0], bar[:-1])))

    @property
    def t_min(self) -> float:  # type: ignore[override]
        return 0.0

    @property
    def t_max(self) -> float:  # type: ignore[override]
        return float(len(self.betas) - 1)

    @property
    def alpha_bar(self) -> Array:
        """ᾱ_t at the integer indices, shape ``(T,)``."""
        return np.asarray(np.exp(self.log_alpha_bar))

    def _log_bar(self, t: ArrayLike) -> Array:
        index = np.arange(len(self.betas), dtype=np.float64)
        t = np.asarray(t, dtype=np.float64)
        # Below the first index the line goes on to log ᾱ = 0 at t = −1, the data itself.
        x = np.concatenate(([-1.0], index))
        y = np.concatenate(([0.0], self.log_alpha_bar))
        if np.isinf(
            y[-1]
        ):  # zero terminal SNR: interpolating towards −∞ would give −∞ everywhere past T−2
            return np.where(t >= index[-1], -np.inf, np.interp(t, x[:-1], y[:-1]))
        return np.asarray(np.interp(t, x, y))

    def alpha_sigma(self, t: ArrayLike) -> tuple[Array, Array]:
        log_bar = self._log_bar(t)
        return np.exp(0.5 * log_bar), np.sqrt(-np.expm1(log_bar))

    def ratio_slope(self, t: ArrayLike) -> Array:
        t = np.asarray(t, dtype=np.float64)
        rises = np.diff(np.concatenate(([0.0], self.log_alpha_bar)))
        piece = np.clip(np.floor(t).astype(np.int64) + 1, 0, len(rises) - 1)
        return _vp_ratio_slope(self._log_bar(t), rises[piece])

    def t_of_ratio(self, ratio: ArrayLike) -> Array:
        r = np.asarray(ratio, dtype=np.float64)
        log_bar = -np.log1p(np.where(np.isinf(r), 0.0, r) ** 2)
        log_bar = np.where(np.isinf(r), -np.inf, log_bar)
        y = np.concatenate(([0.0], self.log_alpha_bar))
        x = np.arange(-1.0, len(self.betas))
        finite = np.isfinite(y)
        t = np.interp(-log_bar, -y[finite], x[finite])
        t = np.where(
            np.abs(t) < 1e-9, 0.0, t
        )  # the lowest level, up to the last bits of log and exp
        return np.where(np.isinf(r), self.t_max, t)

    def scaled(self, ratio: ArrayLike) -> tuple[Array, Array]:
        return _vp_scaled(ratio)


@dataclass(frozen=True)
class VPContinuous(Process):
    """Variance preserving with β(t) linear in continuous time: log α = −t²(β1 − β0)/4 − tβ0/2 (Song
    et al. 2021).

    ``t`` runs over (0, 1]; ``t_min`` is the usual cut-off 1e-3.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-3
    t_max: float = 1.0

    def alpha_sigma(self, t: ArrayLike) -> tuple[Array, Array]:
        t = np.asarray(t, dtype=np.float64)
        log_bar = -0.5 * t**2 * (self.beta_max - self.beta_min) - t * self.beta_min
        return np.exp(0.5 * log_bar), np.sqrt(-np.expm1(log_bar))

    def ratio_slope(self, t: ArrayLike) -> Array:
        t = np.asarray(t, dtype=np.float64)
        width = self.beta_max - self.beta_min
        return _vp_ratio_slope(-0.5 * t**2 * width - t * self.beta_min, -t * width - self.beta_min)

    def t_of_ratio(self, ratio: ArrayLike) -> Array:
        r = np.asarray(ratio, dtype=np.float64)
        width, b0 = self.beta_max - self.beta_min, self.beta_min
        neg = np.log1p(np.minimum(r, 1e150) ** 2)  # −log ᾱ = ½ width t² + b0 t
        return np.asarray(2 * neg / (b0 + np.sqrt(b0**2 + 2 * width * neg)))

    def scaled(self, ratio: ArrayLike) -> tuple[Array, Array]:
        return _vp_scaled(ratio)


@dataclass(frozen=True)
class VE(Process):
    """Variance exploding: α = 1, σ = t. The time is the noise level itself (EDM, NCSN)."""

    t_min: float = 0.002
    t_max: float = 80.0

    def alpha_sigma(self, t: ArrayLike) -> tuple[Array, Array]:
        t = np.asarray(t, dtype=np.float64)
        return np.ones_like(t), t.copy()

    def ratio_slope(self, t: ArrayLike) -> Array:
        return np.asarray(np.ones_like(np.asarray(t, dtype=np.float64)))

    def t_of_ratio(self, ratio: ArrayLike) -> Array:
        return np.array(ratio, dtype=np.float64)

    def scaled(self, ratio: ArrayLike) -> tuple[Array, Array]:
        r = np.asarray(ratio, dtype=np.float64)
        return np.ones_like(r), r.copy()


@dataclass(frozen=True)
class Flow(Process):
    """Rectified flow: α = 1 − t, σ = t. ``t`` runs from 0 (data) to 1 (pure noise).

    ``shift`` moves a grid's times, ``t ← s t / (1 + (s − 1) t)`` (Esser et al. 2024, eq. 23); it
    does not change the path, so it lives in :meth:`shifted`, which the grid builders use.
    """

    shift: float = 1.0
    t_min: float = 1e-3
    t_max: float = 1.0

    def __post_init__(self) -> None:
        if not self.shift > 0:
            raise UserError(
                f"Flow's shift must be positive, not {self.shift}; 1 leaves the times as they are."
            )

    def shifted(self, t: ArrayLike) -> Array:
        """s t / (1 + (s − 1) t)."""
        t = np.asarray(t, dtype=np.float64)
        return np.asarray(self.shift * t / (1 + (self.shift - 1) * t))

    def alpha_sigma(self, t: ArrayLike) -> tuple[Array, Array]:
        t = np.asarray(t, dtype=np.float64)
        return 1 - t, t.copy()

    def ratio_slope(self, t: ArrayLike) -> Array:
        with np.errstate(divide="ignore"):
            return np.asarray(1 / (1 - np.asarray(t, dtype=np.float64)) ** 2)

    def t_of_ratio(self, ratio: ArrayLike) -> Array:
        r = np.asarray(ratio, dtype=np.float64)
        return np.where(
            np.isinf(r), 1.0, np.where(np.isinf(r), 0.0, r) / (1 + np.where(np.isinf(r), 0.0, r))
        )

    def scaled(self, ratio: ArrayLike) -> tuple[Array, Array]:
        return self.alpha_sigma(self.t_of_ratio(ratio))


def points(process: Process, times: Sequence[float] | Array) -> list[Point]:
    """The noise levels at several times."""
    return [process.point(float(t)) for t in times]
