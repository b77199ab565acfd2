"""What a process is: how much signal and how much noise there is at each time, and what follows
from it for a grid, a solver and a start."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
ArrayLike = npt.ArrayLike

TimeSpacing = Literal["leading", "trailing", "linspace"]
"""How times that are uniform lie between the noisiest one and the data, as diffusers names it."""


class Point(NamedTuple):
    """One noise level: the time ``t`` that the network is given, and the state's ``alpha`` and
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
    """α(t), σ(t), their inverse, and what else a sampler asks of a process.

    ``t`` grows with the noise; ``t_min`` and ``t_max`` bound what a network knows. A subclass gives
    the five abstract methods; the rest describes a network that knows every time between ``t_min``
    and ``t_max``, and is overridden where another answer holds. No grid, solver or recipe asks for
    a process's class.
    """

    t_min: float
    t_max: float
    bounded: ClassVar[bool] = True
    """Whether α and σ are defined between the data and ``t_max`` only; where their formula holds
    at every time, explicit grids may go beyond."""
    straight: ClassVar[bool] = False
    """Whether x_t is a straight line in time with the velocity dx/dt = (x − x0)/σ, which is finite
    at pure noise (α = 1 − t, σ = t)."""
    usual_grid: ClassVar[str | None] = None
    """The grid to take where none is asked for, as text; None where it depends on the sampler."""

    @abstractmethod
    def alpha_sigma(self, t: ArrayLike) -> tuple[Array, Array]:
        """α and σ at times ``t`` (same shape as ``t``)."""

    @abstractmethod
    def t_of_ratio(self, ratio: ArrayLike) -> Array:
        """The time at which σ/α equals ``ratio`` (clamped to the process's own range)."""

    @abstractmethod
    def ratio_slope(self, t: ArrayLike) -> Array:
        """dσ̃/dt at times ``t``; at a kink, that of the later times."""

    @abstractmethod
    def log_alpha_slope(self, at: Point) -> float:
        """d log α/dσ̃ at a level of finite σ̃: how the coordinates of :meth:`scaled` shrink."""

    @abstractmethod
    def scaled(self, ratio: ArrayLike) -> tuple[Array, Array]:
        """(α, σ) of this process's coordinates at noise-to-signal ratio ``ratio``, also outside its
        own range."""

    def ratio(self, t: ArrayLike) -> Array:
        """σ̃(t) = σ(t)/α(t); infinite where α = 0."""
        alpha, sigma = self.alpha_sigma(t)
        with np.errstate(divide="ignore"):
            return np.asarray(sigma / alpha)

    def t_of_lambda(self, lam: ArrayLike) -> Array:
        """The time at which log(α/σ) equals ``lam``."""
        return self.t_of_ratio(np.exp(-np.asarray(lam, dtype=np.float64)))

    def point(self, t: float) -> Point:
        """The noise level at time ``t``."""
        alpha, sigma = self.alpha_sigma(float(t))
        return Point(float(t), float(alpha), float(sigma))

    def at_ratio(self, ratio: float) -> Point:
        """The noise level at σ/α = ``ratio``, also outside the process's own range, where the
        network is given its first or last time."""
        alpha, sigma = self.scaled(ratio)
        return Point(float(self.t_of_ratio(ratio)), float(alpha), float(sigma))

    @property
    def t_data(self) -> float:
        """The time of the data, σ = 0."""
        return float(self.t_of_ratio(0.0))

    @property
    def trained_times(self) -> Array | None:
        """The times that the network was trained at, rising, shape (T,); None: all of them."""
        return None

    @property
    def kinks(self) -> Array | None:
        """The times, rising, at which α and σ are not smooth; None where they are so everywhere."""
        return None

    def snapped(
        self, t: ArrayLike, to: Literal["nearest", "noisier", "cleaner"] = "nearest"
    ) -> Array:
        """``t`` moved to a trained time: the nearest, or the next one that is at least as noisy or
        as clean. Where every time is trained, ``t`` itself."""
        t, known = np.asarray(t, dtype=np.float64), self.trained_times
        if known is None:
            return t
        if to == "nearest":
            index = np.abs(t[..., None] - known).argmin(-1)
        elif to == "noisier":
            index = np.searchsorted(known, t - _TIE)
        else:
            index = np.searchsorted(known, t + _TIE, side="right") - 1
        return np.asarray(known[np.clip(index, 0, len(known) - 1)])

    def shifted(self, t: ArrayLike) -> Array:
        """The times that a grid uniform in time takes for uniform ``t``: ``t`` itself, but for
        flows with a shift."""
        return np.asarray(t, dtype=np.float64)

    def uniform_times(
        self,
        steps: int,
        spacing: TimeSpacing,
        *,
        offset: int = 0,
        open: bool = False,
        snap: bool = True,
    ) -> Array:
        """The times, falling, of the evaluations of a grid that is uniform in time, shape
        (``steps``,).

        ``trailing``: from ``t_max`` in equal steps that would end at the data; ``leading`` and
        ``linspace``: from ``t_max`` to ``t_min``. ``open`` lays out one more and leaves the lowest
        out. ``snap`` takes trained times; ``offset`` is for networks of discrete steps.
        """
        if spacing == "trailing" and not open:
            times = self.t_data + (self.t_max - self.t_data) * (1 - np.arange(steps) / steps)
        else:
            times = np.linspace(self.t_max, self.t_min, steps + open)[:steps]
        times = self.shifted(times)
        return self.snapped(times) if snap else times

    def start_scale(self, at: Point) -> float:
        """The standard deviation of a start state at the level ``at``: √(α² + σ²), the marginal of
        data of unit variance."""
        return at.norm


_TIE = 1e-9
"""Times this far apart count as one when they are snapped up or down."""


def points(process: Process, times: Sequence[float] | Array) -> list[Point]:
    """The noise levels at several times."""
    return [process.point(float(t)) for t in times]
