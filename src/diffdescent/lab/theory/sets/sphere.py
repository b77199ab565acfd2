"""Spheres, whole or within an affine subspace."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError

from .base import Projection, Smoothed, check_smoothing, flat_rows, projection_onto
from .subspace import Subspace


class Sphere:
    """{y : ‖y − center‖ = radius} within center + span(directions) (default: all of R^n): d = rank
    − 1, reach = radius.

    Raises:
        UserError: unless the radius is positive.
    """

    def __init__(self, center: Tensor, radius: float, directions: Tensor | None = None) -> None:
        if not 0 < radius < math.inf:
            raise UserError(f"A sphere's radius must be positive and finite, not {radius}.")
        size = center.numel()
        rows = torch.eye(size, dtype=torch.float64) if directions is None else directions
        self.plane = Subspace(center, rows)
        self.shape, self.radius = self.plane.shape, float(radius)

    @property
    def dimension(self) -> float:
        return self.plane.dimension - 1

    @property
    def reach(self) -> float:
        return self.radius

    @property
    def diameter(self) -> float:
        return 2 * self.radius

    def project(self, x: Tensor) -> Projection:
        flat = flat_rows(x, self.shape)
        center = self.plane.origin.to(flat.device)
        ray = self.plane.project(x).nearest.flatten(1) - center
        length = ray.norm(dim=1, keepdim=True)
        # At the very center every point is nearest; the first direction stands for all of them.
        first = self.plane.basis[:, 0].to(flat.device)
        unit = torch.where(length > 0, ray / length.clamp(min=1e-300), first)
        return projection_onto(flat, center + self.radius * unit, self.shape)

    def smoothed(self, x: Tensor, sigma: float) -> Smoothed:
        """The smoothed squared distance and its gradient x − c − r A(κ) ray/‖ray‖, with κ =
        r‖ray‖/σ².

        On the sphere the weights exp(κ cos θ) are a von Mises–Fisher distribution, of which A is
        the mean of cos θ (Mardia and Jupp 2000, section 9.3.2).

        Raises:
            UserError: unless σ > 0.
        """
        check_smoothing(sigma)
        flat = flat_rows(x, self.shape)
        center = self.plane.origin.to(flat.device)
        ray = self.plane.project(x).nearest.flatten(1) - center
        length = ray.norm(dim=1)
        mass, cosine = _von_mises_fisher(self.radius * length / sigma**2, self.plane.basis.shape[1])
        far = (flat - center).square().sum(1) + self.radius**2
        surface = self.dimension * math.log(self.radius)
        pull = self.radius * (cosine / length.clamp(min=1e-300))[:, None] * ray
        return Smoothed(
            far / 2 - sigma**2 * (mass + surface), (flat - center - pull).reshape(x.shape)
        )


def _von_mises_fisher(kappa: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """log ∫ exp(κ cos θ) over the unit sphere in R^size, and the mean of cos θ under it.

    In R^1 the sphere is two points; else |S^(size−2)| ∫ exp(κ cos θ) sin^(size−2) θ dθ by
    Gauss–Legendre quadrature within twelve widths of the integrand's greatest value.
    """
    if size == 1:
        return torch.logaddexp(kappa, -kappa), kappa.tanh()
    nodes, weights = (
        torch.from_numpy(a).to(kappa.device) for a in np.polynomial.legendre.leggauss(200)
    )
    m = size - 2
    top = (2 * kappa / (m + torch.sqrt(m * m + 4 * kappa * kappa)).clamp(min=1e-300)).clamp(
        max=1.0
    )  # cos θ there
    peak = top.acos()
    bend = kappa * top + (m / peak.sin().square().clamp(min=1e-300) if m else 0.0)
    width = 12 / bend.clamp(min=1e-300).sqrt()
    low, high = (peak - width).clamp(min=0), (peak + width).clamp(max=math.pi)
    half = (high - low)[:, None] / 2
    theta = low[:, None] + half * (nodes + 1)
    logs = (
        kappa[:, None] * theta.cos()
        + m * theta.sin().clamp(min=1e-300).log()
        + (weights * half).log()
    )
    outer = math.log(2) + (m + 1) / 2 * math.log(math.pi) - math.lgamma((m + 1) / 2)
    return logs.logsumexp(1) + outer, (logs.softmax(1) * theta.cos()).sum(1)
