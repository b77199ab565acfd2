"""Exponential integrators in λ = log(α/σ): the mathematics that DPM-Solver, DPM-Solver++ and UniPC
share.

Between two levels t → s the probability-flow ODE is solved up to one integral of the network (Lu et
al. 2022, arXiv 2206.00927, prop. 3.1; arXiv 2211.01095, prop. 4.1):

    x0-form   x_s = (σ_s/σ_t) x_t + α_s ∫ e^{−(λ_s − λ)} x0(λ) dλ,
    ε-form    x_s = (α_s/α_t) x_t − σ_s ∫ e^{λ_s − λ} ε(λ) dλ.

With h = λ_s − λ_t, z = −h (x0) or +h (ε), and the network f a polynomial in r = (λ − λ_t)/h, the
integral is h Σ_k φ_{k+1}(z) f^{(k)}(0). Every method here is therefore

    x_s = a x_t + b f_0 + c Σ_j w_j (f_j − f_0),      c = α_s h  or  −σ_s h,

with evaluations f_j at nodes r_j (behind, inside or at the end of the step), and differs from the
others in its w_j.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid
from diffdescent.core.plan import transfer
from diffdescent.core.predict import Basis
from diffdescent.core.process import Point

LowerOrderFinal = Literal["auto", "diffusers", "always", "last", "never"]
"""Whether the last steps fall to lower orders: ``always``; ``auto``, on grids of fewer than ten
steps (the released DPM-Solver); ``diffusers``, on grids of fewer than fifteen, as there; ``last``,
the last step alone, to first order; ``never``. A step to σ = 0 is of first order in any case."""


def phi(k: int, z: float) -> float:
    """φ_k(z) = ∫_0^1 e^{(1−u)z} u^{k−1}/(k−1)! du for k ≥ 1: φ_1 = (e^z − 1)/z, φ_{k+1} = (φ_k −
    1/k!)/z."""
    # The recursion loses a digit per order and power of 1/z; the series is exact to rounding here.
    if abs(z) < 2:
        term = total = 1 / math.factorial(k)
        for j in range(1, 30):
            term *= z / (k + j)
            total += term
        return total
    value = math.expm1(z) / z
    for j in range(1, k):
        value = (value - 1 / math.factorial(j)) / z
    return value


def moments(count: int, z: float) -> list[float]:
    """k! φ_{k+1}(z) for k = 1 … count: the integrals ∫_0^1 e^{(1−u)z} u^k du of the powers of r."""
    return [math.factorial(k) * phi(k + 1, z) for k in range(1, count + 1)]


def solve_weights(nodes: Sequence[float], targets: Sequence[float]) -> tuple[float, ...]:
    """The w_j with Σ_j w_j r_j^k = targets[k − 1], k = 1 … len(nodes).

    With :func:`moments` as targets the step is exact for a network polynomial in λ through all of
    its nodes.
    """
    if not nodes:
        return ()
    powers = np.array([[r**k for r in nodes] for k in range(1, len(nodes) + 1)])
    return tuple(map(float, np.linalg.solve(powers, np.asarray(targets))))


def polynomial_weights(nodes: Sequence[float], z: float) -> tuple[float, ...]:
    """The weights that integrate the interpolating polynomial through ``nodes`` and the step's
    start exactly."""
    return solve_weights(nodes, moments(len(nodes), z))


def midpoint_weight(node: float, z: float) -> tuple[float]:
    """w = φ_1/(2r): φ_2 replaced by φ_1/2, which leaves second order (arXiv 2206.00927, algorithm
    4)."""
    return (phi(1, z) / (2 * node),)


@dataclass(frozen=True)
class LambdaStep:
    """The coefficients of one step between levels of finite λ.

    ``eta`` > 0 is the step of the reverse SDE whose noise has η times the rate of the ancestral
    one, the network frozen or interpolated as before (arXiv 2211.01095, eq. 17 and appendix B,
    where η = 1). In x0-form the noise that stays is σ_s e^{−ηh} and z = −(1+η)h; in ε-form the
    integral is taken (1+η)-fold.
    """

    src: Point
    dst: Point
    basis: Basis
    eta: float = 0.0

    @property
    def h(self) -> float:
        """λ_s − λ_t, negative in a reversed grid."""
        return self.dst.lam - self.src.lam

    @property
    def z(self) -> float:
        """The argument of the φ-functions."""
        return self.h if self.basis == "eps" else -(1 + self.eta) * self.h

    @property
    def _deterministic(self) -> Point:
        """The level that the deterministic part of the step reaches."""
        if self.eta and self.basis == "x0":
            return self.dst._replace(sigma=self.dst.sigma * math.exp(-self.eta * self.h))
        return self.dst

    @property
    def a(self) -> float:
        """The coefficient of x_t."""
        return transfer(self.src, self._deterministic, self.basis)[0]

    @property
    def noise(self) -> float:
        """The standard deviation of the fresh noise."""
        if not self.eta:
            return 0.0
        if self.basis == "x0":
            return self.dst.sigma * math.sqrt(-math.expm1(-2 * self.eta * self.h))
        return self.dst.sigma * math.sqrt(self.eta * math.expm1(2 * self.h))

    def nodes(self, points: Sequence[Point]) -> list[float]:
        """r = (λ − λ_t)/h of other levels."""
        return [(p.lam - self.src.lam) / self.h for p in points]

    def evals(self, weights: Sequence[float], position: int = 0) -> tuple[float, ...]:
        """The coefficients of the evaluations, that of f_0 at ``position`` and c·w_j, in order,
        around it."""
        b = transfer(self.src, self._deterministic, self.basis)[1]
        c = (self.dst.alpha if self.basis == "x0" else -self.dst.sigma) * self.h * (1 + self.eta)
        if self.basis == "eps":
            b *= 1 + self.eta
        others = [c * w for w in weights]
        return (*others[:position], b - sum(others), *others[position:])


def is_finite(src: Point, dst: Point) -> bool:
    """Whether both ends of a step have a finite λ; otherwise it can be of first order only."""
    return math.isfinite(src.lam) and math.isfinite(dst.lam)


def first_usable(grid: Grid) -> int:
    """The first evaluation that a multistep formula may use: the second when λ is infinite at the
    first."""
    return 0 if math.isfinite(grid.points[0].lam) else 1


def orders_for(grid: Grid, order: int, given: Sequence[int]) -> list[int]:
    """``given``, one order per step, or ``order`` at every step."""
    if given and len(given) != grid.steps:
        raise UserError(
            f"orders= lists {len(given)} orders for a grid of {grid.steps} steps; give one per"
            " step."
        )
    return list(given) or [order] * grid.steps


def step_orders(
    grid: Grid, order: int, final: LowerOrderFinal, given: Sequence[int] = ()
) -> list[int]:
    """The order of each step of a multistep method: a ramp from one at the start, and what
    ``final`` says at the end.

    ``given`` replaces both ``order`` and ``final``; no step uses more history than there is.
    """
    count, orders = grid.steps, orders_for(grid, order, given)
    falls = count < {"always": math.inf, "auto": 10, "diffusers": 15}.get(final, 0)
    if not given and falls:
        orders = [min(p, count - i) for i, p in enumerate(orders)]
    elif not given and final == "last":
        orders[-1] = 1
    return [
        min(p, i - first_usable(grid) + 1) if is_finite(src, dst) else 1
        for i, (p, (src, dst)) in enumerate(zip(orders, pairwise(grid.points), strict=True))
    ]
