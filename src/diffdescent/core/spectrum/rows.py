"""Coefficients that depend on the frequency, and how a step applies them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError

from .axes import Axes
from .bands import Bands
from .cosine import from_cosines, to_cosines

Curves = tuple[tuple[float, ...], ...]
"""One coefficient: a value for each group of channel axes and each knot, [group][knot]."""


@dataclass(frozen=True)
class Spectral:
    """The coefficients of one new state over the frequency f.

    x̂ = base(f)·x̂_base + Σ_j evals_j(f)·ĥ_j; hats are cosine transforms in the channel ``axes``.
    Raises ``ValueError`` where a coefficient has not one finite value for each group and knot (a
    mistake in a solver).
    """

    axes: Axes
    bands: Bands
    base: Curves
    evals: tuple[Curves, ...] = ()

    def __post_init__(self) -> None:
        for curves in (self.base, *self.evals):
            fits = len(curves) == self.axes.count and all(
                len(c) == self.bands.count and all(map(math.isfinite, c)) for c in curves
            )
            if not fits:
                raise ValueError(
                    f"A spectral coefficient needs {self.axes.count} curves of {self.bands.count}"
                    f" finite values, not {curves}."
                )

    def mean(self, curves: Curves) -> float:
        """The coefficient as one number: its mean over the axes and the knots."""
        return float(np.mean([np.mean(curves[g]) for g in self.axes.groups]))

    def at(self, group: int, knot: int) -> tuple[float, tuple[float, ...]]:
        """(base, evals) as plain numbers at one knot of one group."""
        return self.base[group][knot], tuple(c[group][knot] for c in self.evals)


@lru_cache(maxsize=64)
def coefficient_maps(
    spectral: Spectral, height: int, width: int, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, ...]:
    """Each coefficient at each axis and frequency, (C, H, W): the base's, then the evaluations'."""
    maps = []
    for curves in (spectral.base, *spectral.evals):
        groups = [spectral.bands.curve(values, height, width) for values in curves]
        full = np.stack([groups[g] for g in spectral.axes.groups])
        maps.append(torch.from_numpy(full).to(dtype).to(device))
    return tuple(maps)


@dataclass
class SpectralRunner:
    """Applies the spectral rows of one plan to one batch; remembers what it has transformed.

    ``like`` is a state. Each evaluation costs one transform and each new state one inverse: the
    states that it made and the evaluations that are kept are not transformed again, unless somebody
    has written into them (which cannot be seen in inference mode: there nobody may). Raises
    :class:`UserError` for states that are not images (B, C, H, W) with the channels of the axes.
    """

    like: InitVar[Tensor]
    axes: Axes
    _seen: list[tuple[Tensor, int, Tensor]] = field(default_factory=list, init=False)
    _to_axes: Tensor = field(init=False)

    def __post_init__(self, like: Tensor) -> None:
        shape = tuple(like.shape)
        if len(shape) != 4:
            raise UserError(
                "Coefficients over the spatial frequency need images of shape (batch, channels,"
                f" height, width), and these states have the shape {shape}; use a sampler without"
                " them."
            )
        if not self.axes.fit(shape[1]):
            raise UserError(
                f"This sampler was made for {self.axes.channels} channels, and the images have"
                f" {shape[1]}; calibrate one for this model, or measure its spectrum."
            )
        self._to_axes = self.axes.tensor(like)

    def step(self, spectral: Spectral, base: Tensor, evals: Sequence[Tensor]) -> Tensor:
        """base(f)·x̂ + Σ_j evals_j(f)·ĥ_j, as an image."""
        height, width = base.shape[-2:]
        maps = coefficient_maps(spectral, height, width, base.dtype, base.device)
        total = maps[0] * self._transformed(base)
        for coefficients, h in zip(maps[1:], evals, strict=False):
            total.addcmul_(coefficients, self._transformed(h))
        image = from_axes(total, self._to_axes, self.axes)
        self._seen = [one for one in self._seen if any(one[0] is h for h in evals)]
        self._seen.append((image, _version(image), total))
        return image

    def _transformed(self, x: Tensor) -> Tensor:
        for known, version, transformed in self._seen:
            if known is x and version == _version(x):
                return transformed
        made = to_axes(x, self._to_axes, self.axes)
        self._seen.append((x, _version(x), made))
        return made


def _version(x: Tensor) -> int:
    """Changes whenever somebody writes into the tensor; not counted in inference mode."""
    return 0 if x.is_inference() else x._version


def to_axes(x: Tensor, matrix: Tensor, axes: Axes) -> Tensor:
    """Images (B, C, H, W) to cosine coefficients of channel axes; ``matrix`` is
    ``axes.tensor(x)``."""
    return to_cosines(x if axes.plain else _mixed(x, matrix))


def from_axes(x: Tensor, matrix: Tensor, axes: Axes) -> Tensor:
    """The inverse of :func:`to_axes`."""
    image = from_cosines(x)
    return image if axes.plain else _mixed(image, matrix.T)


def _mixed(x: Tensor, matrix: Tensor) -> Tensor:
    """The channels multiplied by a matrix, each image alone, so that no number depends on the
    batch."""
    return torch.bmm(matrix.expand(len(x), *matrix.shape), x.flatten(2)).reshape(x.shape)
