"""Distance functions: how far a point is from a set K, and which point of K is nearest.

With dist(x) = min {‖x − y‖ : y ∈ K} and f = ½dist², ∇f(x) = x − proj(x) wherever the projection is
unique (arXiv 2306.04848, proposition 3.1). Everything is in the coordinates of σ̃, x/α, and in
float64.

The smoothed squared distance at σ is −σ² log Σ exp(−‖x − y‖²/2σ²) over the points y of K, an
integral over its surface measure where K is no finite set. Its gradient is x − x̂0 = σε of the
exact denoiser of K, and as σ → 0 it tends to x − proj(x).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.noise import normals
from diffdescent.core.process import Point
from diffdescent.models.dataset import Dataset
from diffdescent.models.exact import digest, float64_device
from diffdescent.models.gaussian import Gaussian
from diffdescent.models.mixture import Mixture


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


def gradient(projection: Projection, x: Tensor) -> Tensor:
    """∇dist(x) = (x − proj(x))/dist(x), a unit vector; 0 on the set itself, where dist has no
    gradient."""
    away = flat_rows(x, x.shape[1:]) - projection.nearest.flatten(1)
    unit = away / projection.distance.clamp(min=1e-300)[:, None]
    return unit.reshape(x.shape)


def smoothed(k: Set, x: Tensor, sigma: float) -> Smoothed:
    """The smoothed squared distance of ``x`` (B, *shape) to ``k`` at ``sigma``, and its gradient.

    Raises :class:`UserError` unless σ > 0, and for a set that has no ``smoothed`` of its own.
    """
    own = getattr(k, "smoothed", None)
    if own is None:
        raise UserError(
            f"A {type(k).__name__} knows no smoothed distance; give it a method smoothed(x, sigma)."
        )
    found: Smoothed = own(x, sigma)
    return found


def identity(k: Set) -> str:
    """What tells one set from another: its ``fingerprint()`` if it has one, else a hash of where it
    projects fixed points to."""
    known = getattr(k, "fingerprint", None)
    if known is not None:
        return str(known())
    found = k.project(normals(0, torch.arange(8), k.shape, 0, dtype=torch.float64))
    return digest((found.nearest, found.distance), type(k).__name__)


def flat_rows(x: Tensor, shape: Sequence[int]) -> Tensor:
    """``x`` (B, *shape) as float64 (B, n). Raises :class:`UserError` for another shape."""
    if tuple(x.shape[1:]) != tuple(shape):
        raise UserError(
            f"The set holds points of shape {tuple(shape)}, so x must be (B, …) of it, not"
            f" {tuple(x.shape)}."
        )
    return x.to(float64_device(x.device), torch.float64).flatten(1)


def _projection(flat: Tensor, nearest: Tensor, shape: Sequence[int]) -> Projection:
    return Projection((flat - nearest).norm(dim=1), nearest.reshape(-1, *shape))


class Subspace:
    """The affine subspace origin + span(directions): d = rank, reach and diameter infinite; d = 0
    is a point.

    ``origin`` is of the shape of one point, ``directions`` (d, n) any spanning rows. Raises
    :class:`UserError` for rows of another length.
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
        return _projection(flat, origin + (flat - origin) @ basis @ basis.T, self.shape)

    def smoothed(self, x: Tensor, sigma: float) -> Smoothed:
        """½dist² − σ²(d/2) log 2πσ² and its gradient x − proj(x). Raises :class:`UserError` unless
        σ > 0."""
        _check_smoothing(sigma)
        found = self.project(x)
        width = self.basis.shape[1] / 2 * math.log(2 * math.pi * sigma * sigma)
        away = flat_rows(x, self.shape) - found.nearest.flatten(1)
        return Smoothed(found.distance.square() / 2 - sigma * sigma * width, away.reshape(x.shape))


class Sphere:
    """{y : ‖y − center‖ = radius} within center + span(directions) (default: all of R^n): d = rank
    − 1, reach = radius.

    Raises :class:`UserError` unless the radius is positive.
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
        return _projection(flat, center + self.radius * unit, self.shape)

    def smoothed(self, x: Tensor, sigma: float) -> Smoothed:
        """The smoothed squared distance and its gradient x − c − r A(κ) ray/‖ray‖, with κ =
        r‖ray‖/σ².

        On the sphere the weights exp(κ cos θ) are a von Mises–Fisher distribution, of which A is
        the mean of cos θ (Mardia and Jupp 2000, section 9.3.2). Raises :class:`UserError` unless σ
        > 0.
        """
        _check_smoothing(sigma)
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


def _check_smoothing(sigma: float) -> None:
    if not 0 < sigma < math.inf:
        raise UserError(
            f"A smoothed distance needs σ > 0, not {sigma}; at σ = 0 it is the distance itself."
        )


class Points:
    """A finite set of images: the x0 of a :class:`~diffdescent.models.dataset.Dataset`, read in
    chunks.

    d = 0, and the reach is half the least distance between two different images. ``intrinsic``
    tells the dimension of the manifold that the images are taken to be samples of, where one was
    estimated (:mod:`.intrinsic`); ``reach`` is theirs, where it is known already. Raises
    :class:`UserError` for a dimension outside (0, n].
    """

    def __init__(
        self,
        images: Tensor | Dataset,
        *,
        intrinsic: float | None = None,
        reach: float | None = None,
    ) -> None:
        from diffdescent.core.process import VE

        self.data = images if isinstance(images, Dataset) else Dataset(images, VE())
        self.shape = self.data.sample_shape
        if intrinsic is not None and not 0 < intrinsic <= math.prod(self.shape):
            raise UserError(
                f"The dimension d must lie in (0, n] = (0, {math.prod(self.shape)}], not"
                f" {intrinsic:g}."
            )
        self.intrinsic = intrinsic
        self._diameter: float | None = None
        self._reach = reach

    def __len__(self) -> int:
        return len(self.data.images)

    @property
    def dimension(self) -> float | None:
        return self.intrinsic

    @property
    def reach(self) -> float:
        """Half the least positive distance between two images: a pass over all pairs, at the first
        call."""
        if self._reach is None:
            from .intrinsic import neighbour_distances

            near = neighbour_distances(self, 1).distance[:, 0]
            self._reach = float(near.min()) / 2 if len(near) else math.inf
        return self._reach

    @property
    def diameter(self) -> float:
        """An upper bound: twice the distance from the set's mean to its farthest image (at most 2×
        the diameter)."""
        if self._diameter is None:
            every = torch.arange(len(self))
            chunks = torch.split(every, self.data.chunk)
            mean = sum(
                (self.data.values(c).flatten(1).sum(0) for c in chunks), torch.zeros(())
            ) / len(self)
            far = [(self.data.values(c).flatten(1) - mean).norm(dim=1).max() for c in chunks]
            self._diameter = 2 * float(torch.stack(far).max())
        return self._diameter

    def fingerprint(self) -> str:
        """The identity of the images."""
        return self.data.fingerprint()

    def project(self, x: Tensor) -> Projection:
        distance, index = self.data.neighbours(x)
        return Projection(distance[:, 0], self.data.values(index[:, 0]))

    def smoothed(self, x: Tensor, sigma: float) -> Smoothed:
        """The smoothed squared distance and its gradient x − x̂0(x). Raises :class:`UserError`
        unless σ > 0."""
        _check_smoothing(sigma)
        at = Point(sigma, 1.0, sigma)
        flat = flat_rows(x, self.shape)
        constant = math.log(len(self)) + flat.shape[1] / 2 * math.log(2 * math.pi * sigma * sigma)
        value = -sigma * sigma * (self.data.log_prob(x, at) + constant)
        away = flat - self.data.evaluate(flat, at, "x0", None)
        return Smoothed(value, away.reshape(x.shape))


class Union:
    """The union of several sets: the nearest point of any. Its reach is bounded by that of its
    parts alone."""

    def __init__(self, parts: Sequence[Set]) -> None:
        if not parts or len({p.shape for p in parts}) > 1:
            raise UserError("A union needs at least one set, all in one space.")
        self.parts = tuple(parts)
        self.shape = parts[0].shape

    @property
    def dimension(self) -> float | None:
        known = [p.dimension for p in self.parts]
        return None if any(d is None for d in known) else max(d for d in known if d is not None)

    @property
    def reach(self) -> float:
        """NaN: parts that come near each other lower it, and how near they come is not computed."""
        return math.nan if len(self.parts) > 1 else self.parts[0].reach

    @property
    def diameter(self) -> float:
        """Infinite where a part's is; otherwise NaN, since it depends on where the parts lie."""
        if len(self.parts) == 1:
            return self.parts[0].diameter
        return math.inf if any(math.isinf(p.diameter) for p in self.parts) else math.nan

    def fingerprint(self) -> str:
        """The identity of all parts."""
        return digest((), *map(identity, self.parts))

    def project(self, x: Tensor) -> Projection:
        best = self.parts[0].project(x)
        for part in self.parts[1:]:
            other = part.project(x)
            closer = other.distance < best.distance
            rows = closer.view(-1, *[1] * len(self.shape))
            best = Projection(
                torch.where(closer, other.distance, best.distance),
                torch.where(rows, other.nearest, best.nearest),
            )
        return best

    def smoothed(self, x: Tensor, sigma: float) -> Smoothed:
        """−σ² log Σ exp(−f_i/σ²) of the parts' f_i, and the mean of their gradients by these
        weights."""
        found = [smoothed(part, x, sigma) for part in self.parts]
        logs = -torch.stack([f.value for f in found]) / sigma**2
        gradients = torch.stack([f.gradient.flatten(1) for f in found])
        mean = (logs.softmax(0)[:, :, None] * gradients).sum(0)
        return Smoothed(-(sigma**2) * logs.logsumexp(0), mean.reshape(x.shape))


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
    """``k`` under the metric of ``matrix`` A. Raises :class:`UserError` for a set that is neither
    points nor affine."""
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


SHARE = 0.95
"""How much of a Gaussian's variance the subspace that stands for its support holds, unless asked
otherwise."""


def support(model: object, share: float = SHARE) -> Set:
    """The set that an exact denoiser's data lie on.

    A finite set is itself. A Gaussian with full rank lies on all of R^n, at distance 0 from
    everything; what stands for its manifold is the subspace of its leading eigenvectors with
    ``share`` of the variance. A mixture is the union of its components' subspaces. Raises
    :class:`UserError` for a network, which does not say what its data lie on.
    """
    if not 0 < share <= 1:
        raise UserError(f"The share of variance must lie in (0, 1], not {share}.")
    if isinstance(model, Dataset):
        return Points(model)
    if isinstance(model, Gaussian):
        dense = model.covariance.apply(lambda v: v, torch.eye(len(model.mean), dtype=torch.float64))
        return _leading(model.mean.reshape(model.sample_shape), dense, share)
    if isinstance(model, Mixture):
        eye = torch.eye(model.means.shape[1], dtype=torch.float64)
        turn = model.coordinates.decode(eye)  # rows: where each coordinate axis lies
        parts: list[Set] = []
        for mean, c in zip(model.means, model.covariances, strict=True):
            origin = model.coordinates.decode(mean[None])[0].reshape(model.sample_shape)
            parts.append(_axes(origin, c.variances, c.directions, c.values, turn, share))
        return Union(parts)
    raise UserError(
        f"A {type(model).__name__} does not say which set its data lie on; name it, for example"
        " images:PATH of its training images."
    )


def _leading(origin: Tensor, covariance: Tensor, share: float) -> Subspace:
    values, vectors = torch.linalg.eigh(covariance)
    count = _count(values.flip(0), share)
    return Subspace(origin, vectors.flip(1)[:, :count].T)


def _axes(
    origin: Tensor,
    variances: Tensor,
    directions: Tensor,
    values: Tensor,
    turn: Tensor,
    share: float,
) -> Subspace:
    """The leading eigenvectors of a component: along its ``directions`` on the first m axes, along
    the axes after.

    The rest variance within the first m axes, which the directions replace, is left out of the
    choice.
    """
    m = directions.shape[0]
    spread = torch.cat((values, variances[m:]))
    order = spread.argsort(descending=True)[: _count(spread.sort(descending=True).values, share)]
    within, beyond = order[order < len(values)], order[order >= len(values)]
    rows = torch.cat((directions[:, within].T @ turn[:m], turn[m + beyond - len(values)]))
    return Subspace(origin, rows)


def _count(descending: Tensor, share: float) -> int:
    """How many of the greatest values hold ``share`` of their sum."""
    cumulative = descending.clamp(min=0).cumsum(0)
    return int((cumulative < share * cumulative[-1] * (1 - 1e-12)).sum()) + 1
