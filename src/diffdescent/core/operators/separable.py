"""Operators that are one matrix down the rows and one across: y = R x Cᵀ for every channel.

With the two small singular value decompositions R = U₁ S₁ V₁ᵀ and C = U₂ S₂ V₂ᵀ, the whole one is
that of their Kronecker product: A⁺ y = V₁ (U₁ᵀ y U₂ / s₁s₂ᵀ) V₂ᵀ.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffdescent.core.linear import sandwich

from .bound import Linear, Shape, cutoff, reciprocal


class _Decomposed(NamedTuple):
    """One matrix (p, n), and of its decomposition U (p, k), s (k,), V (n, n), with k = min(p,
    n)."""

    matrix: Tensor
    u: Tensor
    s: Tensor
    v: Tensor


class Separable(Linear):
    """``rows`` (p, H) and ``columns`` (q, W), float64, on images ``in_shape`` (C, H, W).

    :meth:`to_spectral` has the shape of an image, with the directions that are measured first.
    """

    has_svd = True
    has_pinv = True

    def __init__(
        self,
        in_shape: Shape,
        rows: Tensor,
        columns: Tensor,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        out_shape = (in_shape[0], len(rows), len(columns))
        super().__init__(in_shape, out_shape, dtype, device)
        r, c = _decomposed(rows), _decomposed(columns)
        known = cutoff(torch.outer(r.s, c.s), dtype)
        padding = (0, in_shape[2] - len(c.s), 0, in_shape[1] - len(r.s))
        self._rows = _Decomposed(*(t.to(device, dtype) for t in r))
        self._columns = _Decomposed(*(t.to(device, dtype) for t in c))
        self._reciprocal = reciprocal(known).to(device, dtype)
        self._singular = torch.nn.functional.pad(known, padding).to(device, dtype)

    @property
    def singular(self) -> Tensor:
        return self._singular

    def forward(self, x: Tensor) -> Tensor:
        return sandwich(self._rows.matrix, x, self._columns.matrix.T)

    def adjoint(self, y: Tensor) -> Tensor:
        return sandwich(self._rows.matrix.T, y, self._columns.matrix)

    def pinv(self, y: Tensor) -> Tensor:
        r, c = self._rows, self._columns
        divided = sandwich(r.u.T, y, c.u) * self._reciprocal
        return sandwich(r.v[:, : len(r.s)], divided, c.v[:, : len(c.s)].T)

    def to_spectral(self, x: Tensor) -> Tensor:
        return sandwich(self._rows.v.T, x, self._columns.v)

    def from_spectral(self, s: Tensor) -> Tensor:
        return sandwich(self._rows.v, s, self._columns.v.T)


def _decomposed(matrix: Tensor) -> _Decomposed:
    u, s, vh = torch.linalg.svd(matrix, full_matrices=True)
    return _Decomposed(matrix, u[:, : len(s)], s, vh.T.contiguous())
