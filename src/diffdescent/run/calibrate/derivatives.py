"""Derivatives of a sampler's images by all its numbers: differences of whole paths, each begun
where the number acts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from diffdescent.core.spectrum import from_axes

from .path import Path, Rows
from .shape import Shape

NUDGE = 0.02
"""Size of a difference, over the noise level of the state that is changed, and of a level's change
over the level."""
FUNCTIONS = {3: 4, 4: 3, 5: 2, 6: 2}
"""How many functions of the frequency a coefficient changes by, for each number of evaluations; one
for more, whose derivatives are the dearest."""


def columns_of(nfe: int, groups: int, bands: int) -> int:
    """Evaluations of one trajectory in a round, in rows that see all evaluations: each derivative
    takes the rest of a path."""
    functions = groups * min(bands, FUNCTIONS.get(nfe, 1))
    rows = sum(functions * (n + 2) * (nfe - 1 - n) for n in range(nfe - 1))
    return functions * nfe + nfe * (nfe + 1) // 2 + rows + nfe


@dataclass(frozen=True)
class Directions:
    """What may change: functions of the knots (M, B) for the start and all rows but the last, whose
    knots are free."""

    smooth: Tensor
    free: Tensor
    start: bool

    @classmethod
    def of(cls, shape: Shape, nfe: int) -> Directions:
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
            *(
                t.shape[0] * free_moves(t, rows.shape).shape[1] * len(self.row(n, count))
                for n, t in enumerate(rows.theta)
            ),
        ]


def derivatives(
    rows: Rows, path: Path, cond: Tensor | None, directions: Directions
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
        features = _combined(path.features[n], rows.shape)
        if not features:
            continue
        moves = _moves(theta, features, directions.row(n, last + 1), rows)
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
    higher = asked_at(rows, n, rows.levels[n] * float(np.exp(NUDGE)))
    state = path.features[n][0]
    if n == 0:
        state = state * (rows.subject.scale(higher.levels[0]) / rows.subject.scale(rows.levels[0]))
    elif rows.shape.consistent:  # the row before goes there
        state = state + (higher.levels[n] - rows.levels[n]) * path.features[n - 1][1]
    images = higher.go_on(n, state, path.features[n][2:], cond).images
    return (images - path.images) / NUDGE


def _combined(features: list[Tensor], shape: Shape) -> list[Tensor]:
    """The features that go with the free numbers of a row."""
    return [one - features[1] for one in features[2:]] if shape.consistent else features


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


def asked_at(rows: Rows, n: int, level: float) -> Rows:
    """The rows with another level ``n``, and with the coefficients that leave the path nearly as it
    was: ε at cσ̃ of the same state is about 1/c of that at σ̃, and of the start, which grows with its
    level, it is the same. Consistent rows go to that level instead."""
    factor = level / rows.levels[n]
    theta = [one.clone() for one in rows.theta]
    levels = (*rows.levels[:n], level, *rows.levels[n + 1 :])
    if rows.shape.consistent:
        for one, (high, low) in zip(theta, pairwise((*levels, rows.end)), strict=True):
            one[:, 1] = low - high - one[:, 2:].sum(1)
        return replace(rows, levels=levels, theta=theta)
    if n == 0:
        theta[0][:, 0] /= factor
    for m in range(n, len(theta)) if n else ():
        if 1 + m - n < theta[m].shape[1]:
            theta[m][:, 1 + m - n] *= factor
    return replace(rows, levels=levels, theta=theta)


def free_moves(theta: Tensor, shape: Shape) -> Tensor:
    """What a row's coefficients may move by, (K, free): each alone, or in consistent rows the older
    evaluations against the newest."""
    every = torch.eye(theta.shape[1]).to(theta)
    return every[:, 2:] - every[:, 1:2] if shape.consistent else every
