"""A covariance with few interesting directions, diagonalised once, so that any function of it is
one product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffdescent.base.errors import UserError

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Covariance:
    """C = diag(``variances``) + V (diag(``values``) − v₀) Vᵀ, the second term on the first m of d
    coordinates.

    ``variances`` (d,) is the constant v₀ on those m coordinates; ``directions`` V (m, r) has
    orthonormal columns; ``values`` (r,) are the eigenvalues along them. All float64. The
    eigenvalues of C are thus ``values``, v₀ (m − r times) and the rest of ``variances``.
    """

    variances: Tensor
    directions: Tensor
    values: Tensor

    @classmethod
    def build(cls, variances: Tensor, factors: Tensor | None = None) -> Covariance:
        """diag(``variances``) + W Wᵀ for ``variances`` (d,) > 0 and ``factors`` W (m, r), m ≤ d.

        Where the variances are constant over the m coordinates, r directions suffice; otherwise (a
        diagonal residual) all m of them are needed, and m should stay below about a thousand.

        Raises :class:`UserError` for variances that are not positive or factors that do not fit.
        """
        v = variances.double().clone()
        if v.ndim != 1 or not bool((v > 0).all()) or not bool(torch.isfinite(v).all()):
            raise UserError(
                "Variances must be positive and finite; add a small floor such as 1e-5 to them."
            )
        if factors is None:
            return cls(v, v.new_zeros(0, 0), v.new_zeros(0))
        w = factors.double()
        if w.ndim != 2 or w.shape[0] > len(v) or not bool(torch.isfinite(w).all()):
            raise UserError(
                f"Factors must be finite and of shape (m, r) with m ≤ {len(v)} coordinates, not"
                f" {tuple(factors.shape)}."
            )
        m, r = w.shape
        if m == 0 or r == 0:
            return cls(v, v.new_zeros(0, 0), v.new_zeros(0))
        if r < m and bool((v[:m] == v[0]).all()):
            directions, scale, _ = torch.linalg.svd(w, full_matrices=False)
            return cls(v, directions, v[0] + scale**2)
        values, directions = torch.linalg.eigh(w @ w.T + torch.diag(v[:m]))
        # Rounding can push an eigenvalue of W Wᵀ + D below the least of D, which bounds it.
        values = values.clamp(min=float(v[:m].min()))
        v[:m] = values[0]
        return cls(v, directions, values)

    @property
    def support(self) -> int:
        """m: how many coordinates the directions act on."""
        return self.directions.shape[0]

    @property
    def rest(self) -> Tensor:
        """v₀, of shape (1,): the variance that the directions replace."""
        return self.variances[:1]

    def apply(self, f: Function, y: Tensor) -> Tensor:
        """f(C) y for rows ``y`` (B, d); ``f`` acts on eigenvalues elementwise."""
        out = y * f(self.variances)
        if self.support == 0:
            return out
        gain = f(self.values) - f(self.rest)
        inner = (y[:, : self.support] @ self.directions * gain) @ self.directions.T
        return torch.cat((out[:, : self.support] + inner, out[:, self.support :]), dim=1)

    def trace(self, f: Function) -> Tensor:
        """tr f(C), the sum of f over the eigenvalues."""
        total = f(self.variances).sum()
        return total + (f(self.values) - f(self.rest)).sum() if self.support else total

    def factors(self) -> Tensor:
        """W with C = diag(variances) + W Wᵀ, shape (m, r)."""
        return self.directions * (self.values - self.rest).clamp(min=0).sqrt()

    def to(self, device: torch.device) -> Covariance:
        """The same covariance on ``device``."""
        return Covariance(
            self.variances.to(device), self.directions.to(device), self.values.to(device)
        )
