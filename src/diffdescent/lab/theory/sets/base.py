"""What a set is: projections, distances, and how one set is distinguished from another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.noise import normals
from diffdescent.models.exact import digest, float64_device


class Projection(NamedTuple):
    """Of each x: dist(x) (B,) and proj(x), of the shape of x; float64. Of several nearest points it
    is one."""

    distance: Tensor
    nearest: Tensor


class Smoothed(NamedTuple):
    """Of each x the smoothed squared distance (B,) and its gradient, of the shape of x; float64."""

    value: Tensor
    gradient: Tensor


class Set(Protocol):
    """A closed set in R^n.

    ``shape`` is that of one point, ``dimension`` d of the set as a manifold (None: not known),
    ``reach`` the largest τ such that the projection is unique wherever dist < τ, ``diameter`` the
    largest distance within the set.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dimension(self) -> float | None: ...
    @property
    def reach(self) -> float: ...
    @property
    def diameter(self) -> float: ...
    def project(self, x: Tensor) -> Projection:
        """Distances and nearest points of ``x`` (B, *shape)."""
        ...


@runtime_checkable
class _Smoothable(Protocol):
    def smoothed(self, x: Tensor, sigma: float) -> Smoothed: ...


@runtime_checkable
class _Fingerprinted(Protocol):
    def fingerprint(self) -> str: ...


def gradient(projection: Projection, x: Tensor) -> Tensor:
    """∇dist(x) = (x − proj(x))/dist(x), a unit vector; 0 on the set itself, where dist has no
    gradient.

    Args:
        projection: of ``x`` on a set.
        x: points (B, *shape).

    Returns:
        Unit vectors (B, *shape).
    """
    away = flat_rows(x, x.shape[1:]) - projection.nearest.flatten(1)
    unit = away / projection.distance.clamp(min=1e-300)[:, None]
    return unit.reshape(x.shape)


def smoothed(k: Set, x: Tensor, sigma: float) -> Smoothed:
    """The smoothed squared distance of ``x`` (B, *shape) to ``k`` at ``sigma``, and its gradient.

    Args:
        k: the set.
        x: points (B, *shape).
        sigma: σ > 0, in the units of ``x``.

    Returns:
        The value (B,) and its gradient (B, *shape).

    Raises:
        UserError: unless σ > 0, and a set that has no ``smoothed`` of its own.
    """
    if not isinstance(k, _Smoothable):
        raise UserError(
            f"A {type(k).__name__} knows no smoothed distance; give it a method smoothed(x, sigma)."
        )
    return k.smoothed(x, sigma)


def identity(k: Set) -> str:
    """What tells one set from another: its ``fingerprint()`` if it has one, else a hash of where it
    projects fixed points to."""
    if isinstance(k, _Fingerprinted):
        return k.fingerprint()
    found = k.project(normals(0, torch.arange(8), k.shape, 0, dtype=torch.float64))
    return digest((found.nearest, found.distance), type(k).__name__)


def flat_rows(x: Tensor, shape: Sequence[int]) -> Tensor:
    """``x`` (B, *shape) as float64 (B, n).

    Raises:
        UserError: another shape.
    """
    if tuple(x.shape[1:]) != tuple(shape):
        raise UserError(
            f"The set holds points of shape {tuple(shape)}, so x must be (B, …) of it, not"
            f" {tuple(x.shape)}."
        )
    return x.to(float64_device(x.device), torch.float64).flatten(1)


def projection_onto(flat: Tensor, nearest: Tensor, shape: Sequence[int]) -> Projection:
    return Projection((flat - nearest).norm(dim=1), nearest.reshape(-1, *shape))


def check_smoothing(sigma: float) -> None:
    if not 0 < sigma < math.inf:
        raise UserError(
            f"A smoothed distance needs σ > 0, not {sigma}; at σ = 0 it is the distance itself."
        )
