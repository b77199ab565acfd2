"""Rows end to end: what the whole path leaves of the distance, by Levenberg and Marquardt's method.

Least squares step by step is greedy: the teacher's next state is not the best place for a sampler
of few steps to be. Here all rows change together. A coefficient changes by a line over the log
frequency in each group of channel axes, two numbers each; the derivatives are differences of
whole paths, each begun where the row acts, so the model is only called. With residuals r and
derivatives J of the images, (JᵀWJ + μ·diag)du = JᵀWr; W weighs a sample by the inverse of its
distance, so that the mean distance falls and no outlier rules. Sources: Levenberg 1944, Marquardt
1963.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from diffdescent.core.spectrum import Curves, from_axes, to_axes
from diffdescent.core.spectrum.fitted import FittedRow

from .judge import distances
from .local import LocalFit, Shape, applied, curves_of, hats_of
from .subject import Subject
from .teacher import Trajectories

NUDGE = 0.02
"""Size of a difference, over the noise level of the state that is changed."""
TOGETHER = 8
"""Trajectories whose derivatives are held at a time."""


@dataclass(frozen=True)
class _Path:
    """What a sampler has on its way, in the cosine domain: ``features[n]`` are row n's, and
    ``images`` what it makes."""

    features: list[list[Tensor]]
    images: Tensor


@dataclass(frozen=True)
class _Rows:
    """The rows as tensors θ (groups, K, B), with what it takes to run them."""

    subject: Subject
    shape: Shape
    levels: tuple[float, ...]
    hats: Tensor
    start: Tensor
    theta: list[Tensor]

    def run(self, noise: Tensor, cond: Tensor | None) -> _Path:
        begin = to_axes(noise * self.subject.scale(self.levels[0]), *self._axes(noise))
        state = applied(self.start, [begin], self.hats, self.shape)
        return self.go_on(0, state, [], cond)

    def go_on(self, n: int, state: Tensor, evals: list[Tensor], cond: Tensor | None) -> _Path:
        """The path from row ``n`` on, where the state and the earlier evaluations are these."""
        features = []
        for row in range(n, len(self.theta)):
            image = from_axes(state, *self._axes(state))
            newest = self.subject.eps(image, self.levels[row], cond)
            evals = [to_axes(newest, *self._axes(newest)), *evals]
            features.append([state, *evals][: self.theta[row].shape[1]])
            state = applied(self.theta[row], features[-1], self.hats, self.shape)
        return _Path(features, from_axes(state, *self._axes(state)))

    def _axes(self, like: Tensor) -> tuple[Tensor, Any]:
        return self.shape.axes.tensor(like), self.shape.axes


def refine(
    subject: Subject,
    data: Trajectories,
    fit: LocalFit,
    shape: Shape,
    note: Callable[[str], None],
    iterations: int = 3,
) -> LocalFit:
    """The rows of ``fit``, changed so that its images come nearer to the teacher's on ``data``."""
    hats = hats_of(subject, shape).to(data.noise.device)
    theta = [_tensor((row.base, *row.evals)).to(hats) for row in fit.rows]
    rows = _Rows(subject, shape, fit.asked, hats, _tensor((fit.start,)).to(hats), theta)
    lines = _lines(shape).to(hats)
    best = distances(rows.run(data.noise, data.cond).images, data.end).mean()
    damping = 1e-2
    for _ in range(iterations):
        normal, right = _equations(rows, data, lines)
        for _ in range(4):
            scaled = normal + damping * torch.diag(normal.diagonal()) + _least(normal)
            changed = _changed(rows, torch.linalg.solve(scaled, right), lines)
            reached = distances(changed.run(data.noise, data.cond).images, data.end).mean()
            if bool(reached < best):
                break
            damping *= 8
        else:
            break
        gain, rows, best, damping = float(1 - reached / best), changed, reached, damping / 5
        note(f"end to end: distance {float(best):.4f}")
        if gain < 0.01:
            break
    found = tuple(FittedRow(c[0], tuple(c[1:])) for c in map(curves_of, rows.theta))
    return replace(fit, rows=found, images=rows.run(data.noise, data.cond).images)


def _tensor(coefficients: tuple[Curves, ...]) -> Tensor:
    """Curves [k][group][knot] as (groups, K, B)."""
    return torch.tensor(coefficients, dtype=torch.float64).transpose(0, 1).contiguous()


def _lines(shape: Shape) -> Tensor:
    """The functions of the knots that a coefficient may change by, (M, B): a constant, and a line
    in log ρ from −1 to 1."""
    place = torch.tensor(shape.bands.knots, dtype=torch.float64).log()
    if len(place) == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    line = 2 * (place - place[0]) / (place[-1] - place[0]) - 1
    return torch.stack([torch.ones_like(line), line])


def _least(normal: Tensor) -> Tensor:
    """What keeps a direction without any effect where it is."""
    return 1e-9 * float(normal.diagonal().max()) * torch.eye(len(normal)).to(normal)


def _changed(rows: _Rows, change: Tensor, lines: Tensor) -> _Rows:
    """The rows with ``change``, whose numbers stand in the order of :func:`_directions`."""
    theta, at = [], 0
    for one in rows.theta:
        groups, count, _ = one.shape
        size = groups * count * len(lines)
        theta.append(one + change[at : at + size].view(groups, count, -1) @ lines)
        at += size
    return replace(rows, theta=theta)


def _equations(rows: _Rows, data: Trajectories, lines: Tensor) -> tuple[Tensor, Tensor]:
    """JᵀWJ and JᵀWr, float64, summed over the trajectories a few at a time."""
    size = sum(t.shape[0] * t.shape[1] for t in rows.theta) * len(lines)
    normal = torch.zeros(size, size, dtype=torch.float64, device=data.noise.device)
    right = torch.zeros(size, dtype=torch.float64, device=data.noise.device)
    typical = None
    for first in range(0, len(data), TOGETHER):
        some = slice(first, first + TOGETHER)
        cond = None if data.cond is None else data.cond[some]
        path = rows.run(data.noise[some], cond)
        apart = distances(path.images, data.end[some])
        typical = apart.median() if typical is None else typical
        weights = (1 / (apart + typical)).to(normal)
        columns = torch.cat(list(_derivatives(rows, path, cond, lines)))  # (p, T, C, H, W)
        flat = (columns.flatten(2).double() * weights.sqrt()[:, None]).flatten(1)
        residual = (data.end[some] - path.images).flatten(1).double() * weights.sqrt()[:, None]
        normal += flat @ flat.T
        right += flat @ residual.flatten()
    return normal, right


def _derivatives(rows: _Rows, path: _Path, cond: Tensor | None, lines: Tensor) -> Iterator[Tensor]:
    """The derivatives of the images by the numbers of each row, (directions, T, C, H, W)."""
    last = len(rows.theta) - 1
    axes = rows.shape.axes
    for n, theta in enumerate(rows.theta):
        features = path.features[n]
        nudges = torch.stack(list(_directions(theta, features, lines, rows)))
        count = len(nudges)
        if n == last:  # the images are linear in the last row
            yield torch.stack([from_axes(d, axes.tensor(d), axes) for d in nudges])
            continue
        level = rows.levels[n + 1]
        sizes = nudges.flatten(1).square().mean(1).sqrt().clamp_min(1e-12) / (NUDGE * level)
        moved = nudges / sizes.view(-1, 1, 1, 1, 1)
        state = applied(theta, features, rows.hats, rows.shape) + moved
        evals = [e.repeat(count, 1, 1, 1) for e in path.features[n][1:]]
        labels = None if cond is None else cond.repeat(count)
        images = rows.go_on(n + 1, state.flatten(0, 1), evals, labels).images
        change = images.view(count, *path.images.shape) - path.images
        yield change * sizes.view(-1, 1, 1, 1, 1)


def _directions(
    theta: Tensor, features: list[Tensor], lines: Tensor, rows: _Rows
) -> Iterator[Tensor]:
    """How the state moves with each number of a row: group by group, coefficient by coefficient,
    line by line."""
    height, width = features[0].shape[-2:]
    maps = (lines @ rows.hats).view(len(lines), height, width).to(features[0].dtype)
    for group in range(theta.shape[0]):
        members = rows.shape.axes.members(group)
        for feature in features:
            for line in maps:
                moved = torch.zeros_like(feature)
                moved[:, members] = line * feature[:, members]
                yield moved
