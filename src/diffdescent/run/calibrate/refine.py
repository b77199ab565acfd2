"""Levels and rows end to end: what the whole path leaves of the distance, by Levenberg and
Marquardt's method.

Least squares step by step is greedy: the teacher's next state is not the best place for a sampler
of few steps to be. Here all levels, the start and all rows change together. A coefficient changes
by a few smooth functions of the log frequency in each group of channel axes, those of the last row,
which cost no evaluation, by every knot of their own; the derivatives are differences of whole
paths, each begun where the number acts, so the model is only called. With residuals r and
derivatives J of the images, u the change so far and R a ridge,

    (JᵀWJ + R + μ·diag)du = JᵀWr − R·u.

W weighs a sample by its loss; as a rule that is the inverse of its distance, so that the mean
distance falls and no outlier rules. Sources: Levenberg 1944, Marquardt 1963.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from .derivatives import Directions, asked_at, derivatives, free_moves
from .local import SHARE, LocalFit
from .loss import DISTANCE, Loss
from .path import Rows
from .shape import Shape
from .subject import Subject
from .teacher import Trajectories

TOGETHER = 8
"""Trajectories whose derivatives are held at a time, at most, ..."""
HELD = 1 << 26
"""... and how many numbers these may be, unless those of one are more: half a gigabyte."""
TYPICAL = 8
"""Trajectories whose median distance is a typical one."""
RIDGE = 1e-4
"""Towards the rows that it began with, relative to each number's own curvature."""
GAIN = 0.003
"""A round that comes nearer by less is the last."""
FARTHEST = 0.2
"""The largest change of a level's logarithm in one iteration."""


def refine(
    subject: Subject,
    data: Trajectories,
    fit: LocalFit,
    shape: Shape,
    note: Callable[[str], None],
    iterations: int = 3,
    judge: Callable[[LocalFit], float] | None = None,
    loss: Loss = DISTANCE,
) -> LocalFit:
    """The rows of ``fit``, changed so that its images come nearer to the teacher's on ``data``, by
    ``loss``: of the fits after each iteration, and ``fit`` itself, the one with the least ``judge``
    (without one, the last)."""
    rows = Rows.of(subject, shape, fit, data.noise.device)
    directions = Directions.of(shape, len(rows.theta))
    images = rows.run(data.noise, data.cond).images
    reached = loss.mean(images, data.end)
    best, least = fit, None if judge is None else judge(fit)
    moved = torch.zeros(sum(directions.sizes(rows)), dtype=torch.float64)
    damping = 1e-2
    for _ in range(iterations):
        typical = loss.distances(images[:TYPICAL], data.end[:TYPICAL]).median()
        normal, right = _equations(rows, data, directions, loss, typical)
        ridge = _ridge(rows, directions, len(data)).to(normal) * normal.diagonal()
        for _ in range(4):
            damped = (ridge + damping * normal.diagonal() + _least(normal)).diag()
            change = torch.linalg.solve(normal + damped, right - ridge * moved.to(right))
            tried = changed(rows, change, directions)
            if tried is not None:
                images = tried.run(data.noise, data.cond).images
                now = loss.mean(images, data.end)
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
        note(f"end to end: {loss.kind} {reached:.4f}{shown}")
        if gain < GAIN:
            break
    return best


def _least(normal: Tensor) -> float:
    """What keeps a direction without any effect where it is."""
    return 1e-9 * float(normal.diagonal().max())


def _ridge(rows: Rows, directions: Directions, samples: int) -> Tensor:
    """The ridge of each number, relative to its curvature; that of the last row's knots is larger
    where they are fitted to few values, as in the local fit."""
    sizes = directions.sizes(rows)
    last = rows.theta[-1]
    members = torch.tensor([len(rows.shape.axes.members(g)) for g in range(last.shape[0])])
    values = rows.hats.cpu().sum(1) * members[:, None] * samples  # (groups, B)
    numbers = free_moves(last, rows.shape).shape[1]
    free = (SHARE / values)[:, None].expand(-1, numbers, -1).reshape(-1)
    return RIDGE + torch.cat([torch.zeros(sum(sizes[:-1]), dtype=torch.float64), free])


def changed(rows: Rows, change: Tensor, directions: Directions) -> Rows | None:
    """The rows with ``change``, whose numbers stand in the order of :func:`derivatives`; None
    where the levels would not fall any more."""
    count = len(rows.theta)
    start, levels, *parts = torch.split(change, directions.sizes(rows))
    high, low = rows.subject.span
    for n, move in enumerate(levels):
        level = rows.levels[n] * float(move.clamp(-FARTHEST, FARTHEST).exp())
        rows = asked_at(rows, n, min(max(level, low), high))
    if not all(a > b for a, b in pairwise(rows.levels)):
        return None
    theta = []
    for n, (one, part) in enumerate(zip(rows.theta, parts, strict=True)):
        functions = directions.row(n, count).to(one)
        free = free_moves(one, rows.shape)
        moves = part.view(len(one), free.shape[1], len(functions)) @ functions
        theta.append(one + free @ moves)
    begun = rows.start
    if len(start):
        begun = begun + start.view(*begun.shape[:2], -1) @ directions.smooth.to(begun)
    return replace(rows, theta=theta, start=begun)


def _equations(
    rows: Rows, data: Trajectories, directions: Directions, loss: Loss, typical: Tensor
) -> tuple[Tensor, Tensor]:
    """JᵀWJ and JᵀWr of the loss's features, float64, summed over the trajectories a few at a time;
    ``typical`` is a distance as they have it."""
    size = sum(directions.sizes(rows))
    normal = torch.zeros(size, size, dtype=torch.float64, device=data.noise.device)
    right = torch.zeros(size, dtype=torch.float64, device=data.noise.device)
    together = max(1, min(TOGETHER, HELD // (size * loss.seen(data.end[:1]).numel())))
    for first in range(0, len(data), together):
        some = data[first : first + together]
        path = rows.run(some.noise, some.cond)
        apart = loss.distances(path.images, some.end)
        weights = loss.weights(apart, typical).to(normal).sqrt()[:, None]
        missing = loss.seen(some.end) - loss.seen(path.images)
        residual = (missing.flatten(1).double() * weights).flatten()
        weighted = residual.new_empty(size, len(residual))
        row = 0
        for columns in derivatives(rows, path, some.cond, directions):  # (p, T, C, H, W)
            moved = loss.moved(columns, path.images).flatten(2).double() * weights
            weighted[row : row + len(moved)] = moved.flatten(1)
            row += len(moved)
        normal += weighted @ weighted.T
        right += weighted @ residual
    return normal, right
