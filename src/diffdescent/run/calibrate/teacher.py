"""The model's own solution: fine trajectories that a few-step sampler is to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.recipe import parse
from diffdescent.run.pieces import Pieces

from .subject import Subject

TEACHER = "unipc(order=3)"
LARGEST = 30.0
"""Root mean square of images or latents beyond which they are none."""
SETTLED = 0.25
"""The largest error of a teacher, over its images' contrast."""
BATCH = 16
"""Trajectories of one piece: what a kill costs at most."""


@dataclass(frozen=True)
class Trajectories:
    """Exact paths, up to the teacher's own error.

    ``noise`` is the unit noise (T, C, H, W) they start from, ``levels`` the K + 1 σ/α, the last
    being the end, and ``states`` y there, (K + 1, T, C, H, W); of held-out ones the end alone, (1,
    T, C, H, W).
    """

    noise: Tensor
    cond: Tensor | None
    levels: tuple[float, ...]
    states: Tensor

    @property
    def end(self) -> Tensor:
        """The images, (T, C, H, W)."""
        return self.states[-1]

    def __len__(self) -> int:
        return len(self.noise)

    def first(self, count: int) -> Trajectories:
        """The first ``count`` of them."""
        cond = None if self.cond is None else self.cond[:count]
        return Trajectories(self.noise[:count], cond, self.levels, self.states[:, :count])


def teacher_levels(subject: Subject, count: int) -> tuple[float, ...]:
    """``count`` levels, even in log σ/α over the model's range, and the end σ = 0."""
    high, low = subject.span
    return (*map(float, np.geomspace(high, low, count)), 0.0)


def trajectories(
    subject: Subject,
    samples: range,
    *,
    seed: int,
    levels: int,
    keep: bool,
    pieces: Pieces,
) -> Trajectories:
    """The paths of these samples, by a third-order method over ``levels`` evaluations; with
    ``keep`` all of their states. A batch is a piece, so that an interrupted computation goes on."""
    grid = subject.grid(teacher_levels(subject, levels))
    plan = parse(TEACHER).plan(grid)
    parts = []
    for first in range(samples.start, samples.stop, BATCH):
        some = range(first, min(first + BATCH, samples.stop))

        def make(some: range = some) -> dict[str, Any]:
            states = subject.run(plan, subject.noise(seed, some), subject.label(some), keep)
            return {"states": torch.stack(states).cpu().numpy()}

        asked = {
            "method": TEACHER,
            "levels": levels,
            "seed": seed,
            "samples": [some.start, some.stop],
            "states": len(grid.ratio) if keep else 1,
            "width": subject.parts(BATCH),
        }
        found = pieces.get("teacher", asked, make)
        parts.append(torch.from_numpy(found["states"]))
    states = torch.cat(parts, dim=1).to(subject.device)
    ratios = tuple(map(float, grid.ratio))
    return Trajectories(subject.noise(seed, samples), subject.label(samples), ratios, states)


def check_converged(held: Trajectories, error: float, levels: int) -> None:
    """Raise :class:`UserError` where the solutions depend on how finely they are solved, or are far
    larger than images: there is nothing that a sampler could be held against."""
    ends = held.end.flatten(1)
    size, spread = float(ends.square().mean().sqrt()), float(ends.std(dim=1).mean())
    if size > LARGEST or error > SETTLED * max(spread, 1e-12):
        raise UserError(
            f"The model's own solution does not settle: it has the size {size:.3g}, and twice the"
            f" {levels} levels change it by {error:.3g}; lower the guidance scale, or give the"
            " teacher more levels."
        )


def teacher_error(
    subject: Subject, held: Trajectories, samples: range, *, seed: int, levels: int
) -> float:
    """The root mean square distance of the first held-out ends to those of twice the levels."""
    count = min(len(samples), len(held))
    some = range(samples.start, samples.start + count)
    plan = parse(TEACHER).plan(subject.grid(teacher_levels(subject, 2 * levels)))
    fine = subject.run(plan, subject.noise(seed, some), subject.label(some))[-1]
    return float((fine - held.end[:count]).square().mean().sqrt())
