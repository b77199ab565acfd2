"""Rows by least squares: at every step the teacher's next state, from what the sampler has on its
own path.

In the cosine domain the next state is Σ_k θ_k(f)·φ_k(f) with φ = (ŷ_n, ê_n, ê_{n−1}, …) and
θ_k(f) = Σ_b hat_b(f)·θ_kb: one linear problem for each group of channel axes, with K·B unknowns. A
ridge draws it to a prior: the solution that has one number for all frequencies, or the closed form
for Gaussian images of the teacher's spectrum plus such a solution for what that leaves, or the rows
of the best fixed sampler on these levels.

Consistent rows are exact where ε does not change, so that their error falls with the steps' size:
base is 1 and the other coefficients sum to the change of σ/α, at every frequency. What is free of
them are the coefficients of ε_{n−1} − ε_n, ε_{n−2} − ε_n, ….

Large weights of alternating sign are kept away as if every estimate of x0 had an error of its own,
:data:`ERROR` of the images' size at that frequency: ε_j then has one of ERROR·√S/σ̃_j, which is
added to the normal equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from diffdescent.core.spectrum import Curves, from_axes, to_axes
from diffdescent.core.spectrum.fitted import FittedRow

from .answers import Answers
from .priors import RowPrior, row_priors
from .shape import Shape
from .subject import Subject
from .teacher import Trajectories

ERROR = 5e-3
"""Of an estimate of x0, relative to the images at its frequency; that of half precision is a fifth
of it."""
SHARE = 0.1
"""Over the number of values that a knot is fitted to: the further ridge of a knot with few of them,
such as the mean's, which would otherwise follow its noise."""
HELD = 1 << 25
"""Numbers that the products of features take at a time: a quarter of a gigabyte."""


@dataclass(frozen=True)
class LocalFit:
    """Rows over the levels ``asked`` and ``end``; ``start`` scales y of the library's own start.
    ``images`` are what they make of the trajectories that they were fitted to."""

    asked: tuple[float, ...]
    end: float
    start: Curves
    rows: tuple[FittedRow, ...]
    images: Tensor


def fit_rows(
    subject: Subject,
    data: Trajectories,
    places: Sequence[int],
    shape: Shape,
    answers: Answers | None = None,
) -> LocalFit:
    """Fit the rows that walk the teacher's levels number ``places`` and then its end.

    What ``answers`` holds is not asked of the network again.
    """
    if answers is None or shape.prior == "fixed":
        answers = Answers(0)
    matrix = shape.axes.tensor(data.noise)
    hats = hats_of(subject, shape).to(data.noise.device)

    def hat(x: Tensor) -> Tensor:
        return to_axes(x, matrix, shape.axes)

    ratios = [data.levels[i] for i in places]
    size = _power(hat(data.end), hats, shape)
    walked = [*ratios, data.levels[-1]]
    priors = row_priors(subject, walked, size, shape)

    def solved(
        features: list[Tensor],
        target: Tensor,
        levels: Sequence[float] = (),
        prior: RowPrior | None = None,
        change: float | None = None,
    ) -> tuple[list[Curves], Tensor]:
        """The coefficients, and the state that they make; ``change`` is that of σ/α in a row that
        must be consistent."""
        if change is not None:
            theta = _consistent(features, hat(target), hats, shape, change, size, levels)
        else:
            errors = _errors(size, levels, hats)
            theta = _solve(features, hat(target), hats, shape, errors, prior)
        return curves_of(theta), applied(theta, features, hats, shape)

    def ask(state: Tensor, ratio: float) -> Tensor:
        return hat(subject.eps(from_axes(state, matrix, shape.axes), ratio, data.cond))

    begin = data.noise * subject.scale(ratios[0])
    state = hat(begin)
    start = [((1.0,) * shape.bands.count,) * shape.axes.count]
    if not shape.plain_start:
        start, state = solved([state], data.state(places[0]))
    evals: list[Tensor] = []
    rows = []
    for n, ratio in enumerate(ratios):
        evals = [answers.of(places[: n + 1], partial(ask, state, ratio)), *evals][: shape.history]
        following = data.state(places[n + 1]) if n + 1 < len(ratios) else data.end
        seen = ratios[: n + 1][::-1][: len(evals)]
        change = walked[n + 1] - walked[n] if shape.consistent else None
        curves, state = solved([state, *evals], following, seen, priors[n], change)
        rows.append(FittedRow(curves[0], tuple(curves[1:])))
    images = from_axes(state, matrix, shape.axes)
    return LocalFit(tuple(ratios), data.levels[-1], start[0], tuple(rows), images)


def hats_of(subject: Subject, shape: Shape) -> Tensor:
    """How much each knot counts at each frequency, (B, H·W), float64."""
    height, width = subject.shape[-2:]
    return torch.from_numpy(shape.bands.hats(height, width)).flatten(1)


def applied(theta: Tensor, features: Sequence[Tensor], hats: Tensor, shape: Shape) -> Tensor:
    """Σ_k θ_k(f)·φ_k(f) with θ (groups, K, B); a feature is (T, C, H, W) in the cosine domain."""
    height, width = features[0].shape[-2:]
    maps = (theta @ hats)[list(shape.axes.groups)].to(features[0].dtype)  # (C, K, F)
    maps = maps.transpose(0, 1).reshape(len(features), -1, height, width)
    made = maps[0] * features[0]
    for one, feature in zip(maps[1:], features[1:], strict=True):
        made.addcmul_(one, feature)
    return made


def curves_of(theta: Tensor) -> list[Curves]:
    """θ (groups, K, B) as one coefficient's curves after the other."""
    return [tuple(tuple(map(float, row)) for row in one) for one in theta.unbind(1)]


def _power(end: Tensor, hats: Tensor, shape: Shape) -> Tensor:
    """The mean square of the images at the knots of each group, (groups, B), float64; positive."""
    squares = end.double().square().mean(0).flatten(1)  # (C, F)
    groups = [squares[shape.axes.members(g)].mean(0) for g in range(shape.axes.count)]
    power = torch.stack(groups) @ hats.T / hats.sum(1)
    return power.clamp_min(1e-8 * float(power.max()) + 1e-12)


def _errors(size: Tensor, levels: Sequence[float], hats: Tensor) -> Tensor:
    """The mean square error of each feature at each frequency, (groups, K, F): none of the state,
    and of ε at σ̃ that of the x0 that it holds."""
    squares = (size.log() @ hats).exp()[:, None] * ERROR**2  # (groups, 1, F)
    return torch.cat([0 * squares, *(squares / level**2 for level in levels)], dim=1)


def _consistent(
    features: list[Tensor],
    target: Tensor,
    hats: Tensor,
    shape: Shape,
    change: float,
    size: Tensor,
    levels: Sequence[float],
) -> Tensor:
    """θ, (groups, K, B), of the row that is exact for a constant ε: what the older evaluations
    have more than the newest, fitted to what a step with the newest leaves."""
    state, newest, *older = features
    groups, knots = shape.axes.count, shape.bands.count
    theta = torch.zeros(groups, len(features), knots, dtype=torch.float64, device=hats.device)
    theta[:, 0], theta[:, 1] = 1, change
    if older:
        apart = [one - newest for one in older]
        errors = _errors(size, levels, hats)
        errors = errors[:, 2:] + errors[:, 1:2]
        free = _solve(apart, target - state - change * newest, hats, shape, errors, None)
        theta[:, 2:] = free
        theta[:, 1] -= free.sum(1)
    return theta


def _solve(
    features: list[Tensor],
    target: Tensor,
    hats: Tensor,
    shape: Shape,
    errors: Tensor,
    known: RowPrior | None,
) -> Tensor:
    """θ, (groups, K, B), float64."""
    if known is not None:
        target = target - applied(known.rows, features, hats, shape)
    count, bands = len(features), len(hats)
    grams, sides = [], []
    for group in range(shape.axes.count):
        axes = shape.axes.members(group)
        gram, side = _products(features, target, axes)
        grams.append(gram + len(target) * len(axes) * torch.diag_embed(errors[group].T))
        sides.append(side)
    whole = torch.stack([g.sum(0) for g in grams]).sum(0)
    plain = _ridge_solve(whole, torch.stack([s.sum(0) for s in sides]).sum(0), 1e-8)
    if known is not None and not known.rest:
        plain = torch.zeros_like(plain)
    prior = plain[:, None].expand(count, bands).reshape(-1)
    found: list[Tensor] = []
    for group, (gram, side) in enumerate(zip(grams, sides, strict=True)):
        normal = torch.einsum("bf,cf,fkl->kblc", hats, hats, gram).reshape(count * bands, -1)
        right = torch.einsum("bf,fk->kb", hats, side).reshape(-1)
        values = hats.sum(1) * len(shape.axes.members(group)) * target.shape[0]
        ridge = (shape.ridge + SHARE / values).repeat(count)
        change = _ridge_solve(normal, right - normal @ prior, ridge)
        found.append((prior + change).reshape(count, bands))
    theta = torch.stack(found)
    return theta if known is None else theta + known.rows


def _products(features: list[Tensor], target: Tensor, axes: list[int]) -> tuple[Tensor, Tensor]:
    """Σ φφᵀ (F, K, K) and Σ φ·target (F, K) over samples and channel axes, float64, for some
    frequencies at a time."""
    grams, sides = [], []
    count = HELD // (len(features) * len(target) * len(axes))
    parts = [torch.split(one.flatten(2), max(1, count), dim=2) for one in (*features, target)]
    for *some, goal in zip(*parts, strict=True):  # (T, C, f)
        phi = torch.stack([one[:, axes].flatten(0, 1).T for one in some], 1).double()  # (f, K, T·C)
        wanted = goal[:, axes].flatten(0, 1).T.double()
        grams.append(phi @ phi.transpose(1, 2))
        sides.append((phi @ wanted[..., None])[..., 0])
    return torch.cat(grams), torch.cat(sides)


def _ridge_solve(normal: Tensor, right: Tensor, ridge: Tensor | float) -> Tensor:
    """(N + ridge·diag N)⁻¹ r, scaled by the diagonal."""
    size = normal.diagonal().clamp_min(1e-12 * float(normal.diagonal().max())).sqrt()
    scaled = normal / size[:, None] / size + torch.eye(len(size)).to(normal) * ridge
    found: Tensor = torch.linalg.solve(scaled, right / size) / size
    return found
