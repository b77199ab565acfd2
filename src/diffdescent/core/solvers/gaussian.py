"""The integrator that is exact for Gaussian images of a given power spectrum, each frequency on its
own.

For Gaussian data of power S at a frequency the probability flow in y = x/α is y ∝ Φ with Φ =
√(S + σ̃²). So let u = y/Φ and let the clock be the angle θ = atan(σ̃/√S): then

    du/dθ = v,    v = (Φ ε − σ̃ y/Φ)/√S,

and v vanishes for such data: what is left to integrate is how the data differ from Gaussian ones.
(u and v are the state and the v-prediction of a variance-preserving process for data of unit
variance, Salimans and Ho 2022, with a normalisation of its own for every frequency.) A multistep
method of order p takes the polynomial in Φ through the last p of the v and integrates it exactly
against dθ = √S dσ̃/Φ². The first order is y' = (Φ'/Φ) y + Φ'Δθ v.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import numpy as np

from diffdescent.core.grid import Grid
from diffdescent.core.options import In, Options
from diffdescent.core.plan import Output, Plan, Row
from diffdescent.core.process import Array, Point
from diffdescent.core.spectrum.power import Spectrum, names_law, parse_spectrum
from diffdescent.core.spectrum.rows import Curves, Spectral

from .base import Variable, register
from .quadrature import gauss

PIECES, NODES = 8, 16
"""Of the quadrature of a step; the integrand is 1/cosh times a polynomial in cosh."""
NOTHING = 1e-17
"""Evaluations whose coefficients are smaller than this share of the largest are forgotten."""


def angle_weights(sigmas: Sequence[float], end: float, s: Array) -> Array:
    """w_j = ∫ ℓ_j(Φ) dσ̃/Φ² from ``sigmas[0]`` to ``end``, with ℓ_j the Lagrange polynomials in Φ
    = √(S + σ̃²) through the levels ``sigmas``, newest first; (levels, …) for S of shape (…)."""
    root = np.sqrt(s)
    places = [np.arcsinh(sigma / root) for sigma in (*sigmas, end)]
    unit = gauss(np.linspace(0, 1, PIECES + 1), NODES)
    w = places[0][..., None] + (places[-1] - places[0])[..., None] * unit.points

    def apart(i: int, x: Array) -> Array:
        """(Φ(x) − Φ_i)/√S without cancellation, at places x of w = asinh(σ̃/√S)."""
        at = places[i][..., None]
        return np.asarray(2 * np.sinh((x + at) / 2) * np.sinh((x - at) / 2))

    found = []
    count = len(sigmas)
    for j in range(count):
        value = 1 / np.cosh(w)
        for i in range(count):
            if i != j:
                value = value * (apart(i, w) / apart(i, places[j][..., None]))
        found.append((value * unit.weights).sum(-1) * (places[-1] - places[0]) / root)
    return np.stack(found)


@dataclass
class _Path:
    """Earlier states as combinations of the newest one and the evaluations: y_j = of_state·y_n +
    Σ_i of_evals[i]·ε_i, i counted from the newest evaluation, each of the shape of S."""

    sigma: float
    of_state: Array
    of_evals: list[Array]


@register("gaussian")
@dataclass(frozen=True)
class GaussianFlow(Options):
    """Multistep of ``order`` 1 to 3, exact for Gaussian images of the power ``spectrum``.

    The spectrum is ``white(VARIANCE)``, ``power(SLOPE)``, ``power(SLOPE, S AT ρ = 1)`` with S(ρ) ∝
    ρ^−SLOPE, or the JSON file of a measured one (``diffdescent spectrum``). A white one gives plain
    coefficients, for states of any shape; another weighs every spatial frequency with its own and
    needs images. The first step from pure noise (α = 0) takes x0 as it is.

    Raises:
        UserError: a spectrum that cannot be read.
    """

    order: Annotated[int, In(1, 3)] = 2
    spectrum: str = "white(0.25)"
    known: Spectrum = field(init=False, repr=False, compare=False)
    name: ClassVar[str]
    variants: ClassVar[tuple[Mapping[str, Any], ...]] = (
        {},
        {"order": 1},
        {"order": 3, "spectrum": "white(0.6)"},
    )
    variable: ClassVar[Variable] = "sigma"
    stochastic: ClassVar[bool] = False
    keeps_variance: ClassVar[bool] = False
    solves_points: ClassVar[bool] = False

    def check_together(self) -> None:
        object.__setattr__(self, "known", parse_spectrum(self.spectrum))

    @property
    def contents(self) -> Mapping[str, str]:
        return {} if names_law(self.spectrum) else {self.spectrum: self.known.digest}

    @property
    def cold_order(self) -> int:
        """The first step is of first order."""
        return min(self.order, 2)

    def plan(self, grid: Grid) -> Plan:
        power = np.asarray(self.known.power, dtype=np.float64)
        points, rows = grid.points, []
        begin = 1 if points[0].alpha == 0 else 0
        if begin:
            rows.append(self._first(points[0], points[1], power))
        made = step_coefficients([p.ratio for p in points[begin:]], self.order, power)
        later, kept = [], 0
        for i in reversed(range(begin, grid.steps)):
            src, dst, (a, b) = points[i], points[i + 1], made[i - begin]
            out = self._output(dst, a * (dst.alpha / src.alpha), [dst.alpha * w for w in b])
            later.append(Row(i, src, "eps", (out,), tuple(range(kept)), min(self.order, len(b))))
            kept = max(len(b), kept) - 1
        rows += reversed(later)
        return Plan(grid, tuple(rows), name=f"gaussian({self.order}, {self.spectrum})")

    def _first(self, src: Point, dst: Point, power: Array) -> Row:
        """From pure noise: y/Φ is x/σ there, and v is −x0."""
        size, root = np.sqrt(power + dst.ratio**2), np.sqrt(power)
        turned = np.arctan2(root, dst.ratio)
        out = self._output(dst, dst.alpha * size / src.sigma, [dst.alpha * size * turned / root])
        return Row(0, src, "x0", (out,))

    def _output(self, dst: Point, base: Array, evals: Sequence[Array]) -> Output:
        if self.known.white:
            return Output(dst, base=base.item(), evals=tuple(w.item() for w in evals))
        spectral = Spectral(
            self.known.axes, self.known.bands, _curves(base), tuple(map(_curves, evals))
        )
        means = tuple(map(spectral.mean, spectral.evals))
        return Output(dst, base=spectral.mean(spectral.base), evals=means, spectral=spectral)


def step_coefficients(
    levels: Sequence[float], order: int, power: Array
) -> list[tuple[Array, list[Array]]]:
    """Of each step between ``levels`` σ̃: base and evaluations, newest first, of y' = base·y_n +
    Σ_j evals_j·ε_{n−j}; each of the shape of S."""
    path: list[_Path] = []
    found = []
    for here, there in pairwise(levels):
        a, b = _step(here, there, path, order, power)
        path = _moved(here, a, b, path, order)
        found.append((a, b))
    return found


def _step(
    sigma: float, end: float, path: Sequence[_Path], order: int, power: Array
) -> tuple[Array, list[Array]]:
    """The coefficients of y_n and of the evaluations, newest first, in y' at ``end``."""
    past = [_Path(sigma, np.ones_like(power), []), *path][:order]
    weights = angle_weights([p.sigma for p in past], end, power)
    reached, here = np.sqrt(power + end**2), np.sqrt(power + sigma**2)
    base = reached / here
    length = max(len(past), *(1 + len(p.of_evals) for p in past))
    evals = [np.zeros_like(power) for _ in range(length)]
    for j, (p, w) in enumerate(zip(past, weights, strict=True)):
        size = np.sqrt(power + p.sigma**2)
        evals[j] = evals[j] + reached * w * size
        on_state = reached * w * p.sigma / size
        base = base - on_state * p.of_state
        for i, q in enumerate(p.of_evals):
            evals[1 + i] = evals[1 + i] - on_state * q
    largest = max(float(np.abs(e).max()) for e in evals)
    while len(evals) > 1 and float(np.abs(evals[-1]).max()) < NOTHING * largest:
        evals.pop()
    return base, evals


def _moved(
    sigma: float, base: Array, evals: Sequence[Array], path: Sequence[_Path], order: int
) -> list[_Path]:
    """The past, seen from the next state y' = base·y_n + Σ evals·ε."""
    backwards = _Path(sigma, 1 / base, [-e / base for e in evals])
    seen = [backwards]
    for p in path[: order - 2] if order > 1 else ():
        length = max(len(evals), 1 + len(p.of_evals))
        of_evals = [np.zeros_like(base) for _ in range(length)]
        for i, q in enumerate(p.of_evals):
            of_evals[1 + i] = of_evals[1 + i] + q
        for i, e in enumerate(backwards.of_evals):
            of_evals[i] = of_evals[i] + p.of_state * e
        seen.append(_Path(p.sigma, p.of_state / base, of_evals))
    return seen[: order - 1]


def _curves(values: Array) -> Curves:
    return tuple(tuple(map(float, curve)) for curve in values)
