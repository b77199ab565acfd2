"""Sets under another metric than the Euclidean one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.models.exact import digest

from .base import Projection, Set, Smoothed, flat_rows, identity, smoothed
from .points import Points
from .subspace import Subspace


@dataclass(frozen=True)
class Mahalanobis:
    """dist_A(x) = min {‖A(x − y)‖ : y ∈ K} = the Euclidean distance of Ax to AK, for an invertible
    ``matrix`` A (n, n).

    ``image`` is AK as a set (:func:`transformed` makes it). Projections are given back in the
    coordinates of x, distances in those of A.
    """

    image: Set
    matrix: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    @property
    def dimension(self) -> float | None:
        return self.image.dimension

    @property
    def reach(self) -> float:
        return self.image.reach

    @property
    def diameter(self) -> float:
        return self.image.diameter

    def fingerprint(self) -> str:
        """The identity of AK and A."""
        return digest((self.matrix,), identity(self.image))

    def encode(self, x: Tensor) -> Tensor:
        """Ax, of the shape of x."""
        matrix = self.matrix.to(x.device)
        return (flat_rows(x, self.shape) @ matrix.T).reshape(-1, *self.shape)

    def project(self, x: Tensor) -> Projection:
        found = self.image.project(self.encode(x))
        nearest = torch.linalg.solve(
            self.matrix.to(found.nearest.device), found.nearest.flatten(1).T
        ).T
        return Projection(found.distance, nearest.reshape(-1, *self.shape))

    def smoothed(self, x: Tensor, sigma: float) -> Smoothed:
        """The smoothed distance of Ax to AK, and its gradient in x, Aᵀ∇."""
        found = smoothed(self.image, self.encode(x), sigma)
        slope = found.gradient.flatten(1) @ self.matrix.to(found.gradient.device)
        return Smoothed(found.value, slope.reshape(x.shape))


def transformed(k: Set, matrix: Tensor) -> Mahalanobis:
    """``k`` under the metric of ``matrix`` A.

    Args:
        k: points, or an affine set.
        matrix: A (m, d); distances are those of A·x.

    Returns:
        The set with its new metric.

    Raises:
        UserError: a set that is neither points nor affine.
    """
    a = matrix.double()
    if isinstance(k, Points):
        values = torch.cat(
            [
                k.data.values(c).flatten(1) @ a.T
                for c in torch.split(torch.arange(len(k)), k.data.chunk)
            ]
        )
        return Mahalanobis(Points(values.reshape(-1, *k.shape), intrinsic=k.intrinsic), a)
    if isinstance(k, Subspace):
        return Mahalanobis(Subspace((a @ k.origin).reshape(k.shape), (a @ k.basis).T), a)
    raise UserError(
        f"A Mahalanobis distance is known for points and subspaces, not for a {type(k).__name__}."
    )
