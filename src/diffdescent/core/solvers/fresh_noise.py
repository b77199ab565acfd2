"""First-order steps that draw part of the noise anew, and how much of it there may be."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from diffdescent.base.errors import UserError
from diffdescent.core.grid import Grid
from diffdescent.core.plan import Output, Plan, Row, basis_at, transfer
from diffdescent.core.process import Point


def require_descending(grid: Grid, name: str) -> None:
    """Raise :class:`UserError` for a reversed grid: ``name`` adds noise, and nothing drawn anew
    leads back to the noise that images came from."""
    if not grid.descending:
        raise UserError(
            f"{name} adds noise, so it cannot run a reversed grid; invert with a deterministic"
            " sampler, such as ddim."
        )


def posterior_sigma(src: Point, dst: Point) -> float:
    """Standard deviation of q(x_s | x_t, x0): √(σ_s²·σ_{t|s}²/σ_t²) with σ_{t|s}² = σ_t² −
    (α_t/α_s)²σ_s².

    For VP this is √β̃ (Ho et al. 2020, eq. 7); in σ̃ it is k-diffusion's σ_up.
    """
    return dst.sigma / src.sigma * forward_sigma(src, dst)


def forward_sigma(src: Point, dst: Point) -> float:
    """Standard deviation σ_{t|s} of the forward step q(x_t | x_s), t the noisier level; √β of a VP
    step."""
    return math.sqrt(max(src.sigma**2 - (src.alpha / dst.alpha) ** 2 * dst.sigma**2, 0.0))


def noisy_row(
    step: int,
    src: Point,
    dst: Point,
    kept: float,
    noise: float,
    log_var: tuple[float, float] | None = None,
    spread: float | None = None,
) -> Row:
    """x_s = α_s x0 + kept·ε + noise·z: the DDIM transfer with part of the noise drawn anew.

    The marginal variance is kept when kept² + noise² = σ_s². ``log_var`` and ``spread`` as in an
    :class:`Output`.
    """
    basis = basis_at(src, "eps")
    a, b = transfer(src, Point(dst.t, dst.alpha, kept), basis)
    out = Output(dst, base=a, evals=(b,), noise=noise, log_var=log_var, spread=spread)
    return Row(step, src, basis, (out,), keep_basis="eps")


def noisy_plan(grid: Grid, name: str, rule: Callable[[Point, Point], tuple[float, float]]) -> Plan:
    """A plan of :func:`noisy_row`, ``rule(src, dst)`` giving (kept, noise)."""
    pairs = enumerate(pairwise(grid.points))
    return Plan(grid, tuple(noisy_row(i, s, d, *rule(s, d)) for i, (s, d) in pairs), name=name)
