"""Fréchet distance between Gaussians, the 2-Wasserstein distance of two sets of features by their
moments.

    d² = ‖μ₁ − μ₂‖² + tr Σ₁ + tr Σ₂ − 2·tr (Σ₁Σ₂)^{1/2}

(Dowson and Landau 1982; on Inception features FID, Heusel et al. 2017; on spatial features sFID,
Nash et al. 2021.) Σ₁Σ₂ has the eigenvalues of the symmetric Fᵀ Σ₂ F for any factor Σ₁ = F Fᵀ, so
the trace is the sum of their square roots: no matrix square root, no complex numbers, and nothing
has to be invertible.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffdescent.base.errors import UserError

from .moments import Moments


def factor(sigma: Tensor) -> Tensor:
    """F with F Fᵀ = ``sigma`` (d, d), positive semidefinite: Cholesky's where it exists, else by
    eigenvectors."""
    lower: Tensor
    lower, failed = torch.linalg.cholesky_ex(sigma)
    if not int(failed):
        return lower
    values, vectors = torch.linalg.eigh(sigma)
    out: Tensor = vectors * values.clamp(min=0).sqrt()
    return out


def sum_of_roots(matrix: Tensor) -> float:
    """Σ √λ over the eigenvalues of the symmetric ``matrix``; those that rounding made negative are
    zeros."""
    return float(torch.linalg.eigvalsh(matrix).clamp(min=0).sqrt().sum())


def frechet_distance(a: Moments, b: Moments) -> float:
    """The (squared) Fréchet distance of two sets of moments, in squared feature units; 0 for equal
    ones.

    Args:
        a: one set's moments.
        b: the other's, of the same dimension.

    Returns:
        The distance, ≥ 0.

    Raises:
        UserError: moments of different dimension, or not finite.
    """
    check(a, b)
    f = factor(b.sigma)
    trace = sum_of_roots(f.T @ a.sigma @ f)
    return float((a.mu - b.mu).square().sum() + a.sigma.trace() + b.sigma.trace()) - 2 * trace


def check(a: Moments, b: Moments) -> None:
    """Refuse two sets of moments that cannot be compared.

    Raises:
        UserError: other dimensions, or moments that are not finite.
    """
    if a.dimension != b.dimension:
        raise UserError(
            f"Cannot compare {a.dimension} features with {b.dimension}; take both from the same"
            " network and layer."
        )
    for moments in (a, b):
        if not (moments.mu.isfinite().all() and moments.sigma.isfinite().all()):
            raise UserError(
                "The features hold NaN or Inf; look at the images and at the network that reads"
                " them."
            )


def over_halves(
    x: Tensor,
    reference: Moments,
    root: Tensor,
    masks: Tensor,
    report: Callable[[int, int], None] | None = None,
) -> Tensor:
    """The distance of each half of ``x`` (n, d) to ``reference``: masks bool (r, n) → (r,).

    ``root`` is a factor F of the reference's covariance. In the coordinates y = Fᵀ(x − x̄) the
    matrix whose roots are summed is the covariance of y, so a half costs one product of its rows
    and one eigenvalue problem of size min(n/2, d).
    """
    x = x.double()
    mean = x.mean(0)
    x = x - mean
    y, lengths, offset = x @ root, x.square().sum(1), mean - reference.mu
    known = float(reference.sigma.trace())
    out = torch.empty(len(masks), dtype=torch.float64)
    for i, mask in enumerate(masks):
        m = int(mask.sum())
        part, shift = y[mask], x[mask].mean(0)
        part = part - part.mean(0)
        gram = part @ part.T if m < part.shape[1] else part.T @ part
        trace = (lengths[mask].sum() - m * shift.square().sum()) / (m - 1) + known
        out[i] = (offset + shift).square().sum() + trace - 2 * sum_of_roots(gram / (m - 1))
        if report is not None:
            report(i + 1, len(masks))
    return out
