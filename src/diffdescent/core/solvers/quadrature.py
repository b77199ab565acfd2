"""Integration weights of multistep methods, in float64: quadrature rules, Lagrange polynomials,
Adams–Bashforth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from diffdescent.core.process import Array, Point

ADAMS_BASHFORTH: tuple[tuple[float, ...], ...] = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Adams–Bashforth weights of orders 1–4 for equal steps, newest first (Hairer, Nørsett and Wanner,
section III.1)."""


class Rule(NamedTuple):
    """A quadrature rule: ∫f ≈ Σ weights·f(points); both of shape (n,). Weights are signed, so b may
    be below a."""

    points: Array
    weights: Array


@cache
def _legendre(count: int) -> Rule:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return Rule((nodes + 1) / 2, weights / 2)


def gauss(breaks: Sequence[float] | Array, count: int) -> Rule:
    """Gauss–Legendre with ``count`` points on each piece of ``breaks`` = (a, …, b): exact up to
    degree 2·count − 1."""
    edges = np.asarray(breaks, dtype=np.float64)
    widths = np.diff(edges)[:, None]
    unit = _legendre(count)
    return Rule((edges[:-1, None] + widths * unit.points).ravel(), (widths * unit.weights).ravel())


def left_sum(a: float, b: float, count: int) -> Rule:
    """The left Riemann sum of ``count`` equal pieces (what the released DEIS code integrates
    with)."""
    width = (b - a) / count
    return Rule(
        a + width * np.arange(count, dtype=np.float64), np.full(count, width, dtype=np.float64)
    )


def lagrange(nodes: Sequence[float], x: Array) -> Array:
    """The Lagrange polynomials ℓ_j(x) = Π_{i≠j} (x − u_i)/(u_j − u_i) of distinct ``nodes``, shape
    (nodes, len(x))."""
    u = np.asarray(nodes, dtype=np.float64)
    basis = np.ones((len(u), len(x)))
    for j in range(len(u)):
        for i in range(len(u)):
            if i != j:
                basis[j] *= (x - u[i]) / (u[j] - u[i])
    return basis


def equal_step_weights(nodes: Sequence[Point], dst: Point) -> list[float]:
    """w_j = (σ̃_s − σ̃_t)·(Adams–Bashforth coefficient for equal steps), whatever the steps are."""
    change = dst.ratio - nodes[0].ratio
    return [change * c for c in ADAMS_BASHFORTH[len(nodes) - 1]]


def variable_step_weights(nodes: Sequence[Point], dst: Point) -> list[float]:
    """w_j = ∫ ℓ_j(σ̃) dσ̃ over the step, ℓ_j the Lagrange polynomials of the evaluations' σ̃.

    The integrand is a polynomial of degree at most 3, which two Gauss points integrate exactly.
    """
    rule = gauss((nodes[0].ratio, dst.ratio), 2)
    return [float(w) for w in lagrange([p.ratio for p in nodes], rule.points) @ rule.weights]
