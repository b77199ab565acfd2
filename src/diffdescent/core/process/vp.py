"""Variance-preserving processes, α² + σ² = 1: of discrete training steps, and in continuous
time."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.base.words import shown
from diffdescent.core.calls import check_fields

from .base import Array, ArrayLike, Point, Process, TimeSpacing
from .betas import Schedule, make_betas


def _vp_ratio_slope(log_bar: Array, log_bar_slope: Array) -> Array:
    """dσ̃/dt = −½ (d log ᾱ/dt)/(√ᾱ √(1 − ᾱ)), from σ̃² = 1/ᾱ − 1; infinite at σ = 0."""
    with np.errstate(divide="ignore"):
        return np.asarray(
            -0.5 * log_bar_slope / (np.exp(0.5 * log_bar) * np.sqrt(-np.expm1(log_bar)))
        )


class _UnitVariance(Process, ABC):
    """What α² + σ² = 1 says about the coordinates."""

    def log_alpha_slope(self, at: Point) -> float:
        return -at.ratio * at.alpha**2  # α = (1 + σ̃²)^{−1/2}

    def scaled(self, ratio: ArrayLike) -> tuple[Array, Array]:
        r = np.asarray(ratio, dtype=np.float64)
        alpha = 1.0 / np.hypot(1.0, r)
        sigma = np.where(np.isinf(r), 1.0, np.where(np.isinf(r), 0.0, r) * alpha)
        return np.asarray(alpha), np.asarray(sigma)


@dataclass(frozen=True, eq=False)
class VP(_UnitVariance):
    """Variance preserving, discrete: α² = ᾱ_t, σ² = 1 − ᾱ_t at integer indices ``t = 0 … T−1``.

    Between integers log ᾱ is linear in ``t``. The index is what a network trained on ``T`` steps is
    given; the continuous time of DPM-Solver is ``(t + 1)/T``.

    Raises:
        UserError: when ``betas`` lie outside (0, 1].
    """

    betas: Array = field(default_factory=make_betas)
    log_alpha_bar: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        try:
            betas = np.asarray(self.betas, dtype=np.float64)
        except (TypeError, ValueError):
            raise UserError(
                f"VP needs a vector of betas, not {shown(self.betas)}; give"
                " betas=make_betas('linear')."
            ) from None
        if betas.ndim != 1 or len(betas) < 2 or not np.all((betas > 0) & (betas <= 1)):
            raise UserError(
                "VP needs a vector of at least two betas in (0, 1]; give"
                " betas=make_betas('linear')."
            )
        with np.errstate(divide="ignore"):
            log_bar = np.log1p(-betas).cumsum()
        object.__setattr__(self, "betas", betas)
        object.__setattr__(self, "log_alpha_bar", log_bar)

    def __repr__(self) -> str:
        ends = f"betas {self.betas[0]:.4g} … {self.betas[-1]:.4g}"
        return f"VP({len(self.betas)} trained steps, {ends})"

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
        # At zero terminal SNR, interpolating towards −∞ would give −∞ everywhere past T − 2.
        if np.isinf(y[-1]):
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
        # The lowest level, up to the last bits of log and exp.
        t = np.where(np.abs(t) < 1e-9, 0.0, t)
        return np.where(np.isinf(r), self.t_max, t)

    @property
    def trained_times(self) -> Array:
        return np.arange(len(self.betas), dtype=np.float64)

    @property
    def kinks(self) -> Array:
        return self.trained_times

    def snapped(
        self, t: ArrayLike, to: Literal["nearest", "noisier", "cleaner"] = "nearest"
    ) -> Array:
        if to != "nearest":
            return super().snapped(t, to)
        # A tie at .5 goes to the even index, as everywhere in diffusers.
        index = np.round(np.asarray(t, dtype=np.float64))
        return np.asarray(np.clip(index, 0, self.t_max))

    def uniform_times(
        self,
        steps: int,
        spacing: TimeSpacing,
        *,
        offset: int = 0,
        open: bool = False,
        snap: bool = True,
    ) -> Array:
        """As diffusers has them, with T trained steps and N points: ``leading`` t = i⌊T/N⌋ +
        offset, ``trailing`` t = round(T − iT/N) − 1, ``linspace`` N points from T − 1 to 0.

        Raises:
            UserError: where the offset leads past the last trained step.
        """
        count, total = steps + open, len(self.betas)
        index = np.arange(count, dtype=np.float64)
        if spacing == "leading":
            times = index[::-1] * (total // count) + offset
        elif spacing == "trailing":
            times = total - index * (total / count)
            # Rounded before the shift: a tie at .5 then goes to the index that diffusers takes.
            times = np.asarray(np.round(times) if snap else times) - 1
        else:
            times = np.linspace(total - 1, 0, count)
        times = np.asarray(np.round(times[:steps]) if snap else times[:steps])
        if times[0] > self.t_max:
            raise UserError(
                f"offset={offset} puts the first step at t={times[0]:.0f}, past {self.t_max:.0f}."
            )
        return times


@dataclass(frozen=True)
class VPContinuous(_UnitVariance):
    """Variance preserving with β(t) linear in continuous time: log α = −t²(β1 − β0)/4 − tβ0/2 (Song
    et al. 2021).

    ``t`` runs over (0, 1]; ``t_min`` is the usual cut-off 1e-3.
    """

    bounded: ClassVar[bool] = False
    beta_min: float = 0.1
    beta_max: float = 20.0
    t_min: float = 1e-3
    t_max: float = 1.0

    def __post_init__(self) -> None:
        check_fields(self)

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
