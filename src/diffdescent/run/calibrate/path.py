"""Rows as tensors, and the path that a sampler takes with them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from diffdescent.core.spectrum import Curves, from_axes, to_axes
from diffdescent.core.spectrum.fitted import FittedRow

from .local import LocalFit, applied, curves_of, hats_of
from .shape import Shape
from .subject import Subject


@dataclass(frozen=True)
class Path:
    """What a sampler has on its way, in the cosine domain: ``begin`` is the start before it is
    scaled, ``features[n]`` are row n's, and ``images`` what it makes."""

    begin: Tensor
    features: list[list[Tensor]]
    images: Tensor


@dataclass(frozen=True)
class Rows:
    """The rows as tensors θ (groups, K, B), with what it takes to run them over ``levels`` to
    ``end``."""

    subject: Subject
    shape: Shape
    levels: tuple[float, ...]
    end: float
    hats: Tensor
    start: Tensor
    theta: list[Tensor]

    @classmethod
    def of(cls, subject: Subject, shape: Shape, fit: LocalFit, device: torch.device) -> Rows:
        """Those of a fit."""
        hats = hats_of(subject, shape).to(device)
        theta = [as_tensor((row.base, *row.evals)).to(hats) for row in fit.rows]
        start = as_tensor((fit.start,)).to(hats)
        return cls(subject, shape, fit.asked, fit.end, hats, start, theta)

    def fitted(self, fit: LocalFit, images: Tensor) -> LocalFit:
        """The rows as ``fit`` holds them."""
        rows = tuple(FittedRow(c[0], tuple(c[1:])) for c in map(curves_of, self.theta))
        start = curves_of(self.start)[0]
        return replace(fit, asked=self.levels, start=start, rows=rows, images=images)

    def run(self, noise: Tensor, cond: Tensor | None) -> Path:
        """The whole path."""
        begin = to_axes(noise * self.subject.scale(self.levels[0]), *self._axes(noise))
        state = applied(self.start, [begin], self.hats, self.shape)
        return replace(self.go_on(0, state, [], cond), begin=begin)

    def go_on(self, n: int, state: Tensor, evals: list[Tensor], cond: Tensor | None) -> Path:
        """The path from row ``n`` on, where the state and the earlier evaluations are these."""
        begin, features = state, []
        for row in range(n, len(self.theta)):
            image = from_axes(state, *self._axes(state))
            newest = self.subject.eps(image, self.levels[row], cond)
            evals = [to_axes(newest, *self._axes(newest)), *evals]
            features.append([state, *evals][: self.theta[row].shape[1]])
            state = applied(self.theta[row], features[-1], self.hats, self.shape)
        return Path(begin, features, from_axes(state, *self._axes(state)))

    def _axes(self, like: Tensor) -> tuple[Tensor, Any]:
        return self.shape.axes.tensor(like), self.shape.axes


def as_tensor(coefficients: tuple[Curves, ...]) -> Tensor:
    """Curves [k][group][knot] as (groups, K, B)."""
    return torch.tensor(coefficients, dtype=torch.float64).transpose(0, 1).contiguous()
