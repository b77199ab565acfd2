"""Coefficients that depend on the frequency, and how a step applies them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

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
    """The coefficients of one new state over the frequency: x̂ = base(f)·x̂_base + Σ_j evals_j(f)·ĥ_j.

    The hats are cosine transforms in the channel ``axes``. Raises ``ValueError`` where a
    coefficient has not one finite value for each group and knot (a mistake in a solver).
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


@dataclass
class SpectralRunner:
    """Applies the spectral rows of one plan to one batch; holds what is already transformed.

    Each evaluation costs one transform and each new state one inverse: states and kept evaluations
    are remembered in both forms. Raises :class:`UserError` for states that are not images (B, C, H,
    W) with the channels of the axes.
    """

    like: Tensor
    axes: Axes
    _seen: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict, init=False)
    _maps: dict[int, tuple[Spectral, list[Tensor]]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        shape = tuple(self.like.shape)
        if len(shape) != 4:
            raise UserError(
                "Coefficients over the spatial frequency need images of shape (batch, channels,"
                f" height, width), and these states have the shape {shape}; use a sampler without"
                " them."
            )
        if shape[1] != self.axes.channels:
            raise UserError(
                f"This sampler was fitted for {self.axes.channels} channels, and the images have"
                f" {shape[1]}; calibrate one for this model."
            )
        self._matrix = self.axes.tensor(self.like)

    def step(self, spectral: Spectral, base: Tensor, evals: Sequence[Tensor]) -> Tensor:
        """base(f)·x̂ + Σ_j evals_j(f)·ĥ_j, as an image."""
        maps = self._coefficients(spectral)
        total = maps[0] * self._transformed(base)
        for coefficients, h in zip(maps[1:], evals, strict=False):
            total.addcmul_(coefficients, self._transformed(h))
        image = self._mix(from_cosines(total), back=True)
        kept = [base, *evals]
        self._seen = {id(t): self._seen[id(t)] for t in kept}
        self._seen[id(image)] = image, total
        return image

    def _transformed(self, x: Tensor) -> Tensor:
        found = self._seen.get(id(x))
        if found is None or found[0] is not x:
            found = self._seen[id(x)] = x, to_cosines(self._mix(x, back=False))
        return found[1]

    def _mix(self, x: Tensor, back: bool) -> Tensor:
        """Channels to axes, or back."""
        if self.axes.plain:
            return x
        matrix = (self._matrix.T if back else self._matrix).expand(len(x), -1, -1)
        return torch.bmm(matrix, x.flatten(2)).reshape(x.shape)

    def _coefficients(self, spectral: Spectral) -> list[Tensor]:
        """Each coefficient at each axis and frequency, (C, H, W)."""
        height, width = self.like.shape[-2:]
        maps = []
        for curves in (spectral.base, *spectral.evals):
            groups = [spectral.bands.curve(values, height, width) for values in curves]
            full = np.stack([groups[g] for g in spectral.axes.groups])
            maps.append(torch.from_numpy(full).to(self.like.dtype).to(self.like.device))
        return maps
