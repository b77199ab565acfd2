"""Affine subspaces."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffdescent.base.errors import UserError

from .base import Projection, Smoothed, check_smoothing, flat_rows, projection_onto


class Subspace:
    """The affine subspace origin + span(directions): d = rank, reach and diameter infinite; d = 0
    is a point.

    ``origin`` is of the shape of one point, ``directions`` (d, n) any spanning rows.

    Raises:
        UserError: rows of another length.
    """

    def __init__(self, origin: Tensor, directions: Tensor | None = None) -> None:
        self.shape = tuple(origin.shape)
        self.origin = origin.double().flatten()
        rows = (
            self.origin.new_zeros(0, len(self.origin))
            if directions is None
            else directions.double()
        )
        if rows.ndim != 2 or rows.shape[1] != len(self.origin):
            raise UserError(
                f"Directions in {len(self.origin)} dimensions must be (d, {len(self.origin)}), not"
                f" {tuple(rows.shape)}."
            )
        basis, scale, _ = torch.linalg.svd(rows.T, full_matrices=False)
        self.basis = (
            basis[:, scale > 1e-12 * scale.max()] if len(scale) else basis
        )  # (n, d), orthonormal

    @property
    def dimension(self) -> float:
        return float(self.basis.shape[1])

    @property
    def reach(self) -> float:
        return math.inf

    @property
    def diameter(self) -> float:
        return math.inf if self.basis.shape[1] else 0.0

    def project(self, x: Tensor) -> Projection:
        flat = flat_rows(x, self.shape)
        origin, basis = self.origin.to(flat.device), self.basis.to(flat.device)
        return projection_onto(flat, origin + (flat - origin) @ basis @ basis.T, self.shape)

    def smoothed(self, x: Tensor, sigma: float) -> Smoothed:
        """½dist² − σ²(d/2) log 2πσ² and its gradient x − proj(x).

        Raises:
            UserError: unless σ > 0.
        """
        check_smoothing(sigma)
        found = self.project(x)
        width = self.basis.shape[1] / 2 * math.log(2 * math.pi * sigma * sigma)
        away = flat_rows(x, self.shape) - found.nearest.flatten(1)
        return Smoothed(found.distance.square() / 2 - sigma * sigma * width, away.reshape(x.shape))
