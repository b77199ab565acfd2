"""Levels and rows end to end: what the whole path leaves of the distance, by Levenberg and
Marquardt's method.

Least squares step by step is greedy: the teacher's next state is not the best place for a sampler
of few steps to be. Here all levels, the start and all rows change together. A coefficient changes
by a few smooth functions of the log frequency in each group of channel axes, those of the last row,
which cost no evaluation, by every knot of their own; the derivatives are differences of whole
paths, each begun where the number acts, so the model is only called. With residuals r and
derivatives J of the images, u the change so far and R a ridge,

    (JᵀWJ + R + μ·diag)du = JᵀWr − R·u.

W weighs a sample by the inverse of its distance, so that the mean distance falls and no outlier
rules. Sources: Levenberg 1944, Marquardt 1963.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from diffdescent.core.spectrum import from_axes

from .judge import distances
from .local import SHARE, LocalFit, Shape
from .path import Path, Rows
from .subject import Subject
from .teacher import Trajectories

NUDGE = 0.02
"""Size of a difference, over the noise level of the state that is changed, and of a level's change
over the level."""
TOGETHER = 8
"""Trajectories whose derivatives are held at a time."""
RIDGE = 1e-4
"""Towards the rows that it began with, relative to each number's own curvature."""
GAIN = 0.003
"""A round that comes nearer by less is the last."""
FARTHEST = 0.2
"""The largest change of a level's logarithm in one iteration."""
FUNCTIONS = {3: 4, 4: 3, 5: 2, 6: 2}
"""How many functions of the frequency a coefficient changes by, for each number of evaluations; one
for more, whose derivatives are the dearest."""


@dataclass(frozen=True)
class _Directions:
    """What may change: functions of the knots (M, B) for the start and all rows but the last, whose
    knots are free."""

    smooth: Tensor
    free: Tensor
    start: bool

    @classmethod
    def of(cls, shape: Shape, nfe: int) -> _Directions:
        """Polynomials in log ρ of the lowest degrees, orthogonal on [−1, 1]."""
        bands = shape.bands.count
        place = np.log(shape.bands.knots)
        line = np.zeros(1) if bands == 1 else 2 * (place - place[0]) / (place[-1] - place[0]) - 1
        count = min(bands, FUNCTIONS.get(nfe, 1))
        smooth = np.polynomial.legendre.legvander(line, count - 1).T
        free = torch.eye(bands, dtype=torch.float64)
        return cls(torch.from_numpy(smooth.copy()), free, not shape.plain_start)

    def row(self, n: int, count: int) -> Tensor:
        """The functions of row ``n`` of ``count``."""
        return self.free if n == count - 1 else self.smooth

    def sizes(self, rows: Rows) -> list[int]:
        """How many numbers the start, the levels and each row have."""
        groups, count = rows.start.shape[0], len(rows.theta)
        return [
            groups * len(self.smooth) * self.start,
            count,
            *(t.shape[0] * t.shape[1] * len(self.row(n, count)) for n, t in enumerate(rows.theta)),
        ]


def refine(
    subject: Subject,
    data: Trajectories,
    fit: LocalFit,
    shape: Shape,
    note: Callable[[str], None],
    iterations: int = 3,
    judge: Callable[[LocalFit], float] | None = None,
) -> LocalFit:
    """The rows of ``fit``, changed so that its images come nearer to the teacher's on ``data``: of
    the fits after each iteration, and ``fit`` itself, the one with the least ``judge`` (without
    one, the last)."""
    rows = Rows.of(subject, shape, fit, data.noise.device)
    directions = _Directions.of(shape, len(rows.theta))
    images = rows.run(data.noise, data.cond).images
    reached = float(distances(images, data.end).mean())
    best, least = fit, None if judge is None else judge(fit)
    moved = torch.zeros(sum(directions.sizes(rows)), dtype=torch.float64)
    damping = 1e-2
    for _ in range(iterations):
        normal, right = _equations(rows, data, directions)
        ridge = _ridge(rows, directions, len(data)).to(normal) * normal.diagonal()
        for _ in range(4):
            damped = (ridge + damping * normal.diagonal() + _least(normal)).diag()
            change = torch.linalg.solve(normal + damped, right - ridge * moved.to(right))
            tried = _changed(rows, change, directions)
            if tried is not None:
                images = tried.run(data.noise, data.cond).images
                now = float(distances(images, data.end).mean())
                if now < reached:
                    break
            damping *= 8
        else:
            break
        gain, rows, reached, damping = 1 - now / reached, tried, now, damping / 5
        moved = moved + change.cpu()
        found = rows.fitted(fit, images)
        held = None if judge is None else judge(found)
        if held is None or least is None or held < least:
            best, least = found, held
        shown = "" if held is None else f", {held:.4f} on others"
        note(f"end to end: distance {reached:.4f}{shown}")
        if gain < GAIN:
            break
    return best


def _least(normal: Tensor) -> float:
    """What keeps a direction without any effect where it is."""
    return 1e-9 * float(normal.diagonal().max())


def _ridge(rows: Rows, directions: _Directions, samples: int) -> Tensor:
    """The ridge of each number, relative to its curvature; that of the last row's knots is larger
    where they are fitted to few values, as in the local fit."""
    sizes = directions.sizes(rows)
    last = rows.theta[-1]
    members = torch.tensor([len(rows.shape.axes.members(g)) for g in range(last.shape[0])])
    values = rows.hats.cpu().sum(1) * members[:, None] * samples  # (groups, B)
    free = (SHARE / values)[:, None].expand(-1, last.shape[1], -1).reshape(-1)
    return RIDGE + torch.cat([torch.zeros(sum(sizes[:-1]), dtype=torch.float64), free])


def _changed(rows: Rows, change: Tensor, directions: _Directions) -> Rows | None:
    """The rows with ``change``, whose numbers stand in the order of :func:`_derivatives`; None
    where the levels would not fall any more."""
    count = len(rows.theta)
    start, levels, *parts = torch.split(change, directions.sizes(rows))
    high, low = rows.subject.span
    for n, move in enumerate(levels):
        level = rows.levels[n] * float(move.clamp(-FARTHEST, FARTHEST).exp())
        rows = _asked_at(rows, n, min(max(level, low), high))
    if not all(a > b for a, b in pairwise(rows.levels)):
        return None
    theta = []
    for n, (one, part) in enumerate(zip(rows.theta, parts, strict=True)):
        functions = directions.row(n, count).to(one)
        theta.append(one + part.view(*one.shape[:2], -1) @ functions)
    begun = rows.start
    if len(start):
        begun = begun + start.view(*begun.shape[:2], -1) @ directions.smooth.to(begun)
    return replace(rows, theta=theta, start=begun)


def _asked_at(rows: Rows, n: int, level: float) -> Rows:
    """The rows with another level ``n``, and with the coefficients that leave the path nearly as it
    was: ε at cσ̃ of the same state is about 1/c of that at σ̃, and of the start, which grows with its
    level, it is the same."""
    factor = level / rows.levels[n]
    theta = [one.clone() for one in rows.theta]
    if n == 0:
        theta[0][:, 0] /= factor
    for m in range(n, len(theta)) if n else ():
        if 1 + m - n < theta[m].shape[1]:
            theta[m][:, 1 + m - n] *= factor
    return replace(rows, levels=(*rows.levels[:n], level, *rows.levels[n + 1 :]), theta=theta)


def _equations(rows: Rows, data: Trajectories, directions: _Directions) -> tuple[Tensor, Tensor]:
    """JᵀWJ and JᵀWr, float64, summed over the trajectories a few at a time."""
    size = sum(directions.sizes(rows))
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
        columns = torch.cat(list(_derivatives(rows, path, cond, directions)))  # (p, T, C, H, W)
        flat = (columns.flatten(2).double() * weights.sqrt()[:, None]).flatten(1)
        residual = (data.end[some] - path.images).flatten(1).double() * weights.sqrt()[:, None]
        normal += flat @ flat.T
        right += flat @ residual.flatten()
    return normal, right


def _derivatives(
    rows: Rows, path: Path, cond: Tensor | None, directions: _Directions
) -> Iterator[Tensor]:
    """The derivatives of the images by the start's numbers, the levels' logarithms and the numbers
    of each row, (directions, T, C, H, W)."""
    if directions.start:
        moves = _moves(rows.start, [path.begin], directions.smooth, rows)
        yield _by_state(rows, path, 0, moves, [], cond)
    for n in range(len(rows.theta)):
        yield _by_level(rows, path, n, cond)[None]
    last = len(rows.theta) - 1
    axes = rows.shape.axes
    for n, theta in enumerate(rows.theta):
        moves = _moves(theta, path.features[n], directions.row(n, last + 1), rows)
        if n == last:  # the images are linear in the last row
            yield torch.stack([from_axes(d, axes.tensor(d), axes) for d in moves])
        else:
            yield _by_state(rows, path, n + 1, moves, path.features[n][1:], cond)


def _by_state(
    rows: Rows, path: Path, n: int, moves: Tensor, evals: list[Tensor], cond: Tensor | None
) -> Tensor:
    """How the images move where the state before row ``n`` moves by each of ``moves``."""
    count = len(moves)
    sizes = moves.flatten(1).square().mean(1).sqrt().clamp_min(1e-12) / (NUDGE * rows.levels[n])
    sizes = sizes.view(-1, 1, 1, 1, 1)
    state = path.features[n][0] + moves / sizes
    repeated = [e.repeat(count, 1, 1, 1) for e in evals]
    labels = None if cond is None else cond.repeat(count)
    images = rows.go_on(n, state.flatten(0, 1), repeated, labels).images
    moved: Tensor = (images.view(count, *path.images.shape) - path.images) * sizes
    return moved


def _by_level(rows: Rows, path: Path, n: int, cond: Tensor | None) -> Tensor:
    """How the images move with the logarithm of level ``n``; the first level's start moves
    along."""
    higher = _asked_at(rows, n, rows.levels[n] * float(np.exp(NUDGE)))
    state = path.features[n][0]
    if n == 0:
        state = state * (rows.subject.scale(higher.levels[0]) / rows.subject.scale(rows.levels[0]))
    images = higher.go_on(n, state, path.features[n][2:], cond).images
    return (images - path.images) / NUDGE


def _moves(theta: Tensor, features: list[Tensor], functions: Tensor, rows: Rows) -> Tensor:
    """How the state moves with each number of a row: group by group, coefficient by coefficient,
    function by function."""
    height, width = features[0].shape[-2:]
    maps = (functions.to(rows.hats) @ rows.hats).view(len(functions), height, width)
    found = []
    for group in range(theta.shape[0]):
        members = rows.shape.axes.members(group)
        for feature in features:
            for one in maps.to(features[0].dtype):
                moved = torch.zeros_like(feature)
                moved[:, members] = one * feature[:, members]
                found.append(moved)
    return torch.stack(found)
