"""Finite sets of images."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.process import VE, Point
from diffdescent.models.dataset import Dataset

from ..neighbours import neighbour_distances
from .base import Projection, Smoothed, check_smoothing, flat_rows


class Points:
    """A finite set of images: the x0 of a :class:`~diffdescent.models.dataset.Dataset`, read in
    chunks.

    d = 0, and the reach is half the least distance between two different images. ``intrinsic`` is
    the dimension of the manifold that the images are taken to be samples of, where one was
    estimated (:mod:`diffdescent.lab.theory.intrinsic`); ``reach`` is theirs, where it is known
    already.

    Raises:
        UserError: a dimension outside (0, n].
    """

    def __init__(
        self,
        images: Tensor | Dataset,
        *,
        intrinsic: float | None = None,
        reach: float | None = None,
    ) -> None:
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
        """The smoothed squared distance and its gradient x − x̂0(x).

        Raises:
            UserError: unless σ > 0.
        """
        check_smoothing(sigma)
        at = Point(sigma, 1.0, sigma)
        flat = flat_rows(x, self.shape)
        constant = math.log(len(self)) + flat.shape[1] / 2 * math.log(2 * math.pi * sigma * sigma)
        value = -sigma * sigma * (self.data.log_prob(x, at) + constant)
        away = flat - self.data.evaluate(flat, at, "x0", None)
        return Smoothed(value, away.reshape(x.shape))
