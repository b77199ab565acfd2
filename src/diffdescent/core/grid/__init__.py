"""Noise grids: at which noise levels a sampler stops.

A grid of N steps has N + 1 levels with σ̃ = σ/α strictly decreasing (increasing in a reversed grid,
for inversion). The last level is the end of the run and is always explicit: no network is evaluated
there. Builders are plain functions ``f(process, steps, *, end=…, …) → Grid`` registered by name in
:data:`GRIDS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.process import VP, Array, ArrayLike, Flow, Point, Process

End = Literal["zero", "first"] | float
"""Where a grid ends: ``"zero"`` (σ = 0), ``"first"`` (the process's lowest level, ᾱ_0 of a VP
network), or a σ̃."""


@dataclass(frozen=True, eq=False)
class Grid:
    """N + 1 noise levels on the host: ``t``, ``alpha``, ``sigma`` are float64 of shape (N + 1,).

    ``t`` is what the network is told at each level. ``notes`` say what building the grid changed
    (duplicates removed). Raises :class:`UserError` unless there are at least two levels and σ̃ is
    strictly monotone.
    """

    process: Process
    t: Array
    alpha: Array
    sigma: Array
    name: str = "explicit"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field in ("t", "alpha", "sigma"):
            array = np.array(getattr(self, field), dtype=np.float64)
            array.setflags(write=False)
            object.__setattr__(self, field, array)
        if (
            self.t.ndim != 1
            or not self.t.shape == self.alpha.shape == self.sigma.shape
            or len(self.t) < 2
        ):
            raise UserError(
                "A grid needs at least two levels with one t, α and σ each, not shapes"
                f" {self.t.shape}, {self.alpha.shape}, {self.sigma.shape}; ask for at least one"
                " step."
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            change = np.sign(np.diff(self.ratio))
        if not (np.all(change < 0) or np.all(change > 0)):
            bad = int(np.argmax(change != change[0])) if change[0] != 0 else 0
            raise UserError(
                f"The grid {self.name!r} is not strictly monotone in σ/α at step {bad}:"
                f" {self.ratio[bad]:.6g} is followed by {self.ratio[bad + 1]:.6g}; remove repeated"
                " or unordered levels."
            )

    @property
    def steps(self) -> int:
        """N."""
        return len(self.t) - 1

    @property
    def ratio(self) -> Array:
        """σ̃ = σ/α at each level."""
        with np.errstate(divide="ignore"):
            return np.asarray(self.sigma / self.alpha)

    @property
    def lam(self) -> Array:
        """λ = log(α/σ) at each level."""
        with np.errstate(divide="ignore"):
            return np.asarray(-np.log(self.ratio))

    @property
    def descending(self) -> bool:
        """Whether the grid removes noise (a reversed grid adds it)."""
        return bool(self.ratio[0] > self.ratio[-1])

    @property
    def points(self) -> tuple[Point, ...]:
        """The levels, from the start to the end."""
        return tuple(
            Point(*map(float, level)) for level in zip(self.t, self.alpha, self.sigma, strict=True)
        )

    def at_ratio(self, ratio: float) -> Point:
        """The process's level at σ̃ = ``ratio``, for inner stages."""
        alpha, sigma = self.process.scaled(ratio)
        return Point(float(self.process.t_of_ratio(ratio)), float(alpha), float(sigma))

    def at_time(self, t: float) -> Point:
        """The process's level at time ``t``, for inner stages."""
        return self.process.point(t)

    def reversed(self) -> Grid:
        """The same levels from the end to the start (inversion: image to noise)."""
        return replace(
            self,
            t=self.t[::-1],
            alpha=self.alpha[::-1],
            sigma=self.sigma[::-1],
            name=f"{self.name}, reversed",
        )

    def tail(self, start: int) -> Grid:
        """The grid from level ``start`` on."""
        return replace(self, t=self.t[start:], alpha=self.alpha[start:], sigma=self.sigma[start:])


Builder = Callable[..., Grid]
GRIDS: dict[str, Builder] = {}


def register(name: str) -> Callable[[Builder], Builder]:
    """Make a builder known by ``name``."""

    def add(builder: Builder) -> Builder:
        GRIDS[name] = builder
        return builder

    return add


def make_grid(name: str, process: Process, steps: int, **options: object) -> Grid:
    """The grid ``name`` for ``process`` with ``steps`` steps.

    Raises :class:`UserError` for an unknown name and for fewer than one step.
    """
    if name not in GRIDS:
        raise unknown("grid", name, GRIDS)
    if not isinstance(steps, int) or steps < 1:
        raise UserError(f"A grid needs at least 1 step, and a whole number of them, not {steps!r}.")
    return GRIDS[name](process, steps, **options)


@register("explicit")
def explicit_values(
    process: Process, steps: int, *, t: tuple[float, ...] = (), ratio: tuple[float, ...] = ()
) -> Grid:
    """Exactly the given times ``t``, or noise-to-signal ratios σ/α, the last one being the end;
    ``steps`` is unused.

    Raises :class:`UserError` unless one of the two lists is given, with at least two levels in
    falling order.
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


def explicit(process: Process, times: ArrayLike, name: str = "explicit") -> Grid:
    """A grid of exactly the given times, the last one being the end."""
    t = np.asarray(times, dtype=np.float64)
    lowest = float(process.t_of_ratio(0.0))
    bounded = isinstance(process, (VP, Flow))  # elsewhere α and σ are defined for any time
    if bounded and t.size and (t.max() > process.t_max or t.min() < lowest):
        raise UserError(
            f"Times must lie between {lowest:g} (the data) and {process.t_max:g}, not {t.min():g} …"
            f" {t.max():g}."
        )
    alpha, sigma = process.alpha_sigma(t)
    return Grid(process, t, alpha, sigma, name)


def explicit_ratios(process: Process, ratios: ArrayLike, name: str = "explicit") -> Grid:
    """A grid of exactly the given σ̃ = σ/α, the last one being the end."""
    r = np.asarray(ratios, dtype=np.float64)
    if r.size and not r.min() >= 0:
        raise UserError(f"Noise-to-signal ratios must be at least 0, not {r.min():g}.")
    alpha, sigma = process.scaled(r)
    return Grid(process, process.t_of_ratio(r), alpha, sigma, name)


def _unique(values: Array, keep_ratio: Array) -> tuple[Array, int]:
    """Drop values that do not lower the ratio further; how many were dropped."""
    keep = np.concatenate(([True], np.diff(keep_ratio) < 0))
    return values[keep], int((~keep).sum())


def _finish(
    process: Process, times: Array, end: End, name: str, ratios: Array | None = None
) -> Grid:
    """Append the end to the evaluation levels (``times``, or exact ``ratios``), without
    duplicates."""
    notes: tuple[str, ...] = ()
    given = process.ratio(times) if ratios is None else ratios
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
    if isinstance(end, str):
        if end != "zero":
            raise UserError(
                f"Unknown end {end!r}; give 'zero' (σ = 0), 'first' (the lowest trained level) or a"
                " σ/α."
            )
        ratio = 0.0
    else:
        ratio = float(end)
    if ratio < 0:
        raise UserError(f"A grid cannot end at σ/α = {ratio}; give a number of at least 0.")
    alpha, sigma = process.scaled(ratio)
    return Point(float(process.t_of_ratio(ratio)), float(alpha), float(sigma))


def _snapped(process: Process, times: Array, snap: bool) -> Array:
    return np.round(times) if snap and isinstance(process, VP) else times


def _trained_steps(process: VP, steps: int) -> int:
    total = len(process.betas)
    if steps > total:
        raise UserError(
            f"{steps} steps are more than the {total} the model was trained on; ask for at most"
            f" {total}."
        )
    return total


Spacing = Literal["leading", "trailing", "linspace"]


@register("uniform")
def uniform(
    process: Process,
    steps: int,
    *,
    spacing: Spacing = "leading",
    offset: int = 0,
    open: bool = False,
    snap: bool = True,
    end: End = "zero",
) -> Grid:
    """Uniform in time.

    Discrete VP with T trained steps, as diffusers names them: ``leading`` t = i⌊T/N⌋ + offset,
    ``trailing`` t = round(T − iT/N) − 1, ``linspace`` N points from T − 1 to 0. ``open`` lays out N
    + 1 points and leaves the lowest out (what diffusers' multistep schedulers do, and
    ``sgm_uniform``). Continuous processes: ``trailing`` is t_max(1 − i/N), the others a linspace
    from t_max to t_min; a flow's shift is applied.
    """
    count = steps + 1 if open else steps
    if isinstance(process, VP):
        total = _trained_steps(process, steps)
        if spacing == "leading":
            times = np.arange(count, dtype=np.float64)[::-1] * (total // count) + offset
        elif spacing == "trailing":
            # Rounded before the shift: a tie at .5 then goes to the index that diffusers takes.
            times = (
                _snapped(process, np.asarray(total - np.arange(count) * (total / count)), snap) - 1
            )
        elif spacing == "linspace":
            times = np.linspace(total - 1, 0, count)
        else:
            raise unknown("spacing", spacing, ("leading", "trailing", "linspace"))
        times = _snapped(process, times[:steps], snap)
        if times[0] > process.t_max:
            raise UserError(
                f"offset={offset} puts the first step at t={times[0]:.0f}, past"
                f" {process.t_max:.0f}."
            )
    else:
        if spacing not in ("leading", "trailing", "linspace"):
            raise unknown("spacing", spacing, ("leading", "trailing", "linspace"))
        if spacing == "trailing" and not open:
            times = process.t_max * (1 - np.arange(steps) / steps)
        else:
            times = np.linspace(process.t_max, process.t_min, count)[:steps]
        if isinstance(process, Flow):
            times = process.shifted(times)
    return _finish(process, times, end, f"uniform({spacing})")


@register("quadratic")
def quadratic(
    process: Process, steps: int, *, fraction: float = 0.8, snap: bool = True, end: End = "zero"
) -> Grid:
    """Quadratic skip: t = round(linspace(0, √(0.8 T), N)²) (DDIM's CIFAR-10 grid; the momentum
    paper's too).

    It starts at t = 0.8 T. Rounding repeats low indices for many steps; the repeats are removed and
    noted.
    """
    if not 0 < fraction <= 1:
        raise UserError(
            f"quadratic's fraction of the trained times must lie in (0, 1], not {fraction}."
        )
    total = _trained_steps(process, steps) if isinstance(process, VP) else process.t_max
    low = 0.0 if isinstance(process, VP) else process.t_min
    times = np.linspace(math.sqrt(low), math.sqrt(fraction * total), steps)[::-1] ** 2
    if steps == 1:
        times = np.array([fraction * total])
    return _finish(
        process, np.minimum(_snapped(process, times, snap), process.t_max), end, "quadratic"
    )


@register("quadratic_time")
def quadratic_time(process: Process, steps: int, *, snap: bool = False, end: End = "first") -> Grid:
    """√t uniform in continuous time from the highest to the lowest trained level (DPM-Solver's
    ``time_quadratic``).

    For discrete VP the continuous time is (index + 1)/T. The N + 1 points include the end at the
    lowest level.
    """
    shift = 1.0 if isinstance(process, VP) else 0.0
    root = np.linspace(
        math.sqrt(process.t_max + shift), math.sqrt(process.t_min + shift), steps + 1
    )
    return _finish(process, _snapped(process, root[:-1] ** 2 - shift, snap), end, "quadratic_time")


def _range(
    process: Process, start: float | None, low: float | None, name: str
) -> tuple[float, float]:
    """The σ̃ range of a grid: given, or the process's own."""
    high = float(process.ratio(process.t_max)) if start is None else float(start)
    low = float(process.ratio(process.t_min)) if low is None else float(low)
    if not math.isfinite(high):
        raise UserError(
            f"The grid {name!r} cannot start at σ/α = ∞ (pure noise); give start=, for example"
            " start=80."
        )
    if not 0 < low < high:
        raise UserError(
            f"The grid {name!r} needs 0 < its lowest σ/α < its start, not {low:.4g} and {high:.4g}."
        )
    return high, low


def _from_ratios(process: Process, ratios: Array, end: End, name: str, snap: bool) -> Grid:
    times = process.t_of_ratio(ratios)
    if snap and isinstance(process, VP):
        return _finish(process, np.clip(np.round(times), 0, process.t_max), end, name)
    grid = _finish(process, times, end, name, ratios)
    beyond = int((grid.ratio > process.ratio(process.t_max) * (1 + 1e-9)).sum())
    if beyond:
        note = (
            f"{beyond} level(s) above the noisiest one that the model was trained on, which it"
            " takes for that one"
        )
        grid = replace(grid, notes=(*grid.notes, note))
    return grid


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
    """
    if rule not in ("halfway", "released"):
        raise unknown("log-linear rule", rule, ("halfway", "released"))
    high = start if start is not None else (40.0 if rule == "halfway" else 8.35)
    if isinstance(process, VP):
        if snap:
            _trained_steps(process, steps)
        table = process.ratio(np.arange(len(process.betas)))
        first, at_skip = float(table[0]), float(table[min(len(table) - 1, len(table) // steps)])
    else:
        first = float(process.ratio(process.t_min))
        at_skip = float(
            process.ratio(process.t_min + (process.t_max - process.t_min) / max(steps, 2))
        )
    if last is None:
        last = math.sqrt(first * at_skip) if rule == "halfway" else at_skip
    high, low = _range(process, high, last, "loglinear")
    ratios = np.geomspace(high, low, steps) if steps > 1 else np.array([high])
    if snap and isinstance(process, VP):
        side: Literal["left", "right"] = "right" if rule == "halfway" else "left"
        # Decided on rounded values: the last ratio of the released rule equals a table entry, up to
        # its last bits.
        index = (
            np.searchsorted(table * (1 + 1e-12), ratios, side=side)
            if rule == "released"
            else np.searchsorted(table, ratios, side=side)
        )
        times = np.minimum(index, len(table) - 1).astype(np.float64)
        return _finish(process, times, end, f"loglinear({rule})")
    return _from_ratios(process, ratios, end, f"loglinear({rule})", snap=False)


@register("ddim")
def ddim_offset(
    process: Process,
    steps: int,
    *,
    start: float | None = None,
    snap: bool = True,
    end: End = "first",
) -> Grid:
    """Uniform in t from the level where σ̃ = ``start`` (default: the highest) down; N steps, the
    end included.

    The "DDIM" (157 → 0.002) and "DDIM offset" (40 → 0.002) baselines of the gradient-estimation
    paper, whose .002 is before snapping: the snapped grid ends at t = 0.
    """
    top = process.t_max if start is None else float(process.t_of_ratio(start))
    if snap and isinstance(process, VP):
        top = math.ceil(
            top - 1e-9
        )  # the first index that is at least as noisy, as in the authors' code
    times = np.linspace(top, process.t_min, steps + 1)[:-1]
    if isinstance(process, Flow):
        times = process.shifted(times)
    return _finish(
        process, np.floor(times + 1e-9) if snap and isinstance(process, VP) else times, end, "ddim"
    )


@register("karras")
def karras(
    process: Process,
    steps: int,
    *,
    start: float | None = None,
    last: float | None = None,
    rho: float = 7.0,
    snap: bool = False,
    end: End = "zero",
) -> Grid:
    """σ̃_i = (start^{1/ρ} + i/(N−1)·(last^{1/ρ} − start^{1/ρ}))^ρ (Karras et al. 2022, eq. 5)."""
    high, low = _range(process, start, last, "karras")
    if not rho > 0:
        raise UserError(f"karras' rho must be positive, not {rho}; 7 is the paper's.")
    ramp = np.linspace(0, 1, steps)
    ratios = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    ratios[0] = high  # the power's last bits
    if steps > 1:
        ratios[-1] = low
    return _from_ratios(process, ratios, end, "karras", snap)


@register("exponential")
def exponential(
    process: Process,
    steps: int,
    *,
    start: float | None = None,
    last: float | None = None,
    snap: bool = False,
    end: End = "zero",
) -> Grid:
    """σ̃ log-uniform from ``start`` to ``last`` (the process's own range), then the end."""
    high, low = _range(process, start, last, "exponential")
    ratios = np.geomspace(high, low, steps) if steps > 1 else np.array([high])
    return _from_ratios(process, ratios, end, "exponential", snap)


@register("logsnr")
def logsnr(
    process: Process,
    steps: int,
    *,
    start: float | None = None,
    last: float | None = None,
    snap: bool = False,
) -> Grid:
    """λ uniform: N + 1 levels from ``start`` to ``last``, which is the end (DPM-Solver's
    ``logSNR``)."""
    high, low = _range(process, start, last, "logsnr")
    ratios = np.geomspace(high, low, steps + 1)
    return _from_ratios(process, ratios[:-1], low, "logsnr", snap)


def _betainc(a: float, b: float, x: Array) -> Array:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF
    8.17.22)."""
    flip = x > (a + 1) / (a + b + 2)
    p, q, z = np.where(flip, b, a), np.where(flip, a, b), np.where(flip, 1 - x, x)
    fraction = np.zeros_like(z)
    for m in range(60, 0, -1):
        even = m * (q - m) * z / ((p + 2 * m - 1) * (p + 2 * m))
        odd = -(p + m) * (p + q + m) * z / ((p + 2 * m) * (p + 2 * m + 1))
        fraction = even / (1 + odd / (1 + fraction))
    first = -(p + q) * z / (p + 1)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    with np.errstate(divide="ignore"):
        value = (
            np.exp(log_front + p * np.log(z) + q * np.log1p(-z)) / p / (1 + first / (1 + fraction))
        )
    return np.asarray(np.where(flip, 1 - value, value))


@register("beta")
def beta(
    process: Process,
    steps: int,
    *,
    a: float = 0.6,
    b: float = 0.6,
    snap: bool = True,
    end: End = "zero",
) -> Grid:
    """Times at quantiles 1 − i/N of a Beta(a, b) distribution (the "beta" scheduler; arXiv
    2407.12173)."""
    if not (a > 0 and b > 0):
        raise UserError(f"The beta distribution needs a > 0 and b > 0, not a={a}, b={b}.")
    target = 1 - np.arange(steps) / steps
    low, high = np.zeros(steps), np.ones(steps)
    for _ in range(60):
        middle = (low + high) / 2
        below = _betainc(a, b, middle) < target
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    quantile = np.where(target == 1, 1.0, (low + high) / 2)
    times = process.t_min + (process.t_max - process.t_min) * quantile
    return _finish(process, _snapped(process, times, snap), end, "beta")


@register("simple")
def simple(process: Process, steps: int, *, end: End = "zero") -> Grid:
    """Every (T/N)-th trained level counted from the noisiest: t = T − 1 − ⌊iT/N⌋ (ComfyUI's
    "simple")."""
    if isinstance(process, VP):
        total = _trained_steps(process, steps)
        times = total - 1 - np.floor(np.arange(steps) * (total / steps))
    else:
        times = process.t_max * (1 - np.arange(steps) / steps)
        times = process.shifted(times) if isinstance(process, Flow) else times
    return _finish(process, times, end, "simple")


AYS: dict[str, tuple[float, ...]] = {
    "sd1": (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029),
    "sdxl": (14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029),
    "svd": (700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002),
}
"""Align Your Steps: the published 10-step σ̃ of three models (Sabour et al. 2024, arXiv
2404.14507)."""


@register("ays")
def ays(
    process: Process, steps: int, *, model: str = "sd1", snap: bool = False, end: End = "zero"
) -> Grid:
    """Align Your Steps: log σ̃ linear in the step index between the published levels; the end
    replaces the last."""
    if model not in AYS:
        raise unknown("Align Your Steps model", model, AYS)
    table = np.log(np.asarray(AYS[model]))
    ratios = np.exp(np.interp(np.linspace(0, 1, steps + 1), np.linspace(0, 1, len(table)), table))
    return _from_ratios(process, ratios[:-1], end, f"ays({model})", snap)


@register("admissible")
def admissible(
    process: Process,
    steps: int,
    *,
    eta: float = 0.06,
    nu: float = 4.0,
    start: float | None = None,
    last: float | None = None,
    snap: bool = False,
) -> Grid:
    """σ̃ log-uniform with a step size that is (η, ν)-admissible (arXiv 2306.04848, section 4; see
    ``theory.schedules``).

    N + 1 levels, the last of which is the end: from ``start`` to ``last`` where both are given,
    which is refused when no such schedule is admissible. Otherwise the range is the greatest that N
    admissible steps allow: down to the process's lowest level from as high as possible (what gave
    way is noted), or down from ``start`` alone. A start far below the process's noisiest level is
    no pure noise: sample from there with an image and a ``strength``.

    η = 0.06 is about what 95 % of the ideal denoiser's states on CIFAR-10 stay within
    (docs/theory.md); ten steps then span the whole range of a linear VP process.
    """
    from .schedules import admissible_ratios

    low, high = float(process.ratio(process.t_min)), float(process.ratio(process.t_max))
    ratios, note = admissible_ratios(eta, nu, steps, low, high, start, last)
    grid = _from_ratios(process, ratios[:-1], float(ratios[-1]), "admissible", snap)
    return grid if note is None else replace(grid, notes=(*grid.notes, note))
