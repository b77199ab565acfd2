"""Gradient estimation as a least-squares problem (arXiv 2306.04848, section 5)."""

from __future__ import annotations

from diffdescent.base.errors import UserError


def least_squares_gamma(a: float, b: float, c: float) -> float:
    """γ = (a + b)/(a + 2b + c): gradient estimation with it has the least weighted error to both
    evaluations.

    √n ∇dist is one vector all along the segment from x to proj(x), so ε_t and ε_{t+1} are two
    readings of it. Of all vectors e, e = γε_t + (1 − γ)ε_{t+1} has the least error (e − ε_t, e −
    ε_{t+1}) in the norm of W = [[aI, bI], [bI, cI]], the inverse covariance of the readings'
    errors. Every γ is the answer for some W, one above 1 for errors that are positively correlated
    (b < −c): the problem justifies the family, not γ = 2.

    Args:
        a: weight of the newer reading's error.
        b: weight of the product of both errors.
        c: weight of the older reading's error.

    Returns:
        γ.

    Raises:
        UserError: unless W is positive definite.
    """
    if not (a > 0 and a * c > b * b):
        raise UserError(
            f"The weights must be positive definite (a > 0, ac > b²), not a = {a}, b = {b}, c ="
            f" {c}."
        )
    return (a + b) / (a + 2 * b + c)
