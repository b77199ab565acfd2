"""A measurement along the directions that it sees: v = Vᵣᵀx + n/s."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.operators import Bound, Linear
from diffdescent.core.operators.bound import cutoff

LARGEST = 4096
"""Numbers of an image up to which an operator without singular values is decomposed as a matrix."""


@dataclass(frozen=True, eq=False)
class Measured:
    """``rows`` Vᵣᵀ (r, d), orthonormal; the ``values`` v (B, r) that were measured along them, and
    the ``variance`` σ²/s² (r,) of their noise. float64."""

    rows: Tensor
    values: Tensor
    variance: Tensor

    def log_likelihood(self, x: Tensor) -> Tensor:
        """log N(v; Vᵣᵀx, σ²/s²) of ``x`` (B, …), (B,); without noise 0 where Vᵣᵀx is v to a
        millionth, −∞ elsewhere."""
        apart = self.values - x.flatten(1) @ self.rows.T
        if not self.variance.any():
            scale = 1e-6 * (1 + self.values.norm(dim=1))
            return torch.where(apart.norm(dim=1) <= scale, 0.0, -math.inf).double()
        each = apart.square() / self.variance + self.variance.log() + math.log(2 * math.pi)
        return -0.5 * each.sum(1)


def measure_along(operator: Bound, y: Tensor, noise: float) -> Measured:
    """``y`` (B, *out_shape) along the directions of ``operator``, a float64 :class:`Linear`.

    Raises:
        UserError: an operator that is not linear, a y that does not fit, one that no image gives
            where there is no noise, and large images under an operator without singular values.
    """
    if not isinstance(operator, Linear):
        raise UserError(
            "The exact posterior is known under linear measurements; take a linear operator, for"
            " example blur(sigma=2)."
        )
    operator.check(y)
    found = (_known if operator.has_svd else _decomposed)(operator, y, noise)
    if not noise:
        _check_consistent(operator, y, found)
    return found


def _check_consistent(operator: Linear, y: Tensor, found: Measured) -> None:
    """Raise :class:`UserError` where ``y`` is what A gives of no image, beyond the singular values
    that count as zero."""
    shortest = (found.values @ found.rows).view(-1, *operator.in_shape)
    apart = (y.double() - operator.forward(shortest)).flatten(1).norm(dim=1)
    share = apart / y.double().flatten(1).norm(dim=1).clamp_min(1e-300)
    worst = int(share.argmax())
    if share[worst] > 10 * torch.finfo(y.dtype).eps ** 0.5:
        raise UserError(
            "Without noise y must be what the operator gives of an image, and"
            f" {share[worst]:.2g} of the size of measurement {worst} is not; give its noise, or y"
            " without noise."
        )


def _known(operator: Linear, y: Tensor, noise: float) -> Measured:
    whole = cutoff(operator.singular, y.dtype).expand(operator.in_shape).flatten()
    seen = whole.nonzero()[:, 0]
    rows = []
    for part in torch.split(seen, 256):
        chosen = torch.zeros(len(part), len(whole), dtype=torch.float64)
        chosen[torch.arange(len(part)), part] = 1
        rows.append(operator.from_spectral(chosen.view(-1, *operator.in_shape)).flatten(1))
    values = operator.to_spectral(operator.pinv(y.double())).flatten(1)[:, seen]
    return Measured(torch.cat(rows), values, (noise / whole[seen]).square())


def _decomposed(operator: Linear, y: Tensor, noise: float) -> Measured:
    n = math.prod(operator.in_shape)
    if n > LARGEST:
        raise UserError(
            f"This operator knows no singular values, and images of {n} numbers are too large to"
            f" find them; take images of at most {LARGEST} numbers, or another operator."
        )
    basis = torch.eye(n, dtype=torch.float64).view(n, *operator.in_shape)
    matrix = operator.forward(basis).flatten(1).T
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    seen = cutoff(s, y.dtype) > 0
    values = (y.double().flatten(1) @ u[:, seen]) / s[seen]
    return Measured(vh[seen], values, (noise / s[seen]).square())
