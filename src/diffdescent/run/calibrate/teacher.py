"""The model's own solution: fine trajectories that a few-step sampler is to reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.recipe import parse
from diffdescent.run.pieces import Pieces

from .cost import counted
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
    being the end, and ``end`` y there, the images. ``before`` are the states before it, (K, T, C,
    H, W), which stay on the CPU: of latents of 16·128² they are gigabytes. Held-out ones have none.
    """

    noise: Tensor
    cond: Tensor | None
    levels: tuple[float, ...]
    before: Tensor
    end: Tensor

    def state(self, place: int) -> Tensor:
        """y at the level of this number, (T, C, H, W), beside the noise."""
        return self.before[place].to(self.noise.device)

    def __len__(self) -> int:
        return len(self.noise)

    def __getitem__(self, rows: slice) -> Trajectories:
        """Some of them."""
        cond = None if self.cond is None else self.cond[rows]
        return Trajectories(
            self.noise[rows], cond, self.levels, self.before[:, rows], self.end[rows]
        )


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
    count = len(grid.ratio) if keep else 1
    noise = subject.noise(seed, samples)
    before, end = torch.empty(count - 1, *noise.shape), torch.empty_like(noise)
    for first in range(samples.start, samples.stop, BATCH):
        some = range(first, min(first + BATCH, samples.stop))

        def make(some: range = some) -> dict[str, Any]:
            path = subject.run(plan, subject.noise(seed, some), subject.label(some), keep)
            states = np.empty((len(path), *path[0].shape), dtype=np.float32)
            for place in reversed(range(len(path))):  # each is let go once it is copied
                states[place] = path.pop().cpu().numpy()
            _check_finite(states, some)
            return {"states": states}

        asked = {
            "method": TEACHER,
            "levels": levels,
            "seed": seed,
            "samples": [some.start, some.stop],
            "states": count,
            "width": subject.parts(BATCH),
        }
        found = torch.from_numpy(counted(pieces, subject, "teacher", asked, make)["states"])
        rows = slice(first - samples.start, some.stop - samples.start)
        before[:, rows], end[rows] = found[:-1], found[-1]
        del found  # before the next ones are made
    ratios = tuple(map(float, grid.ratio))
    return Trajectories(noise, subject.label(samples), ratios, before, end)


def _check_finite(states: npt.NDArray[np.float32], samples: range) -> None:
    """Raise :class:`UserError` for solutions with NaN or Inf, (K, T, C, H, W), before they are
    kept."""
    broken = ~np.stack([np.isfinite(one).all((1, 2, 3)) for one in states]).all(0)
    bad = [samples[place] for place in np.flatnonzero(broken)]
    if bad:
        raise UserError(
            f"The model's own solution has NaN or Inf for the noise of sample {bad[0]}"
            f"{f' and {len(bad) - 1} more' if len(bad) > 1 else ''}; lower the guidance scale, or"
            " check the model's dtype and its answers at every noise level."
        )


def check_converged(held: Trajectories, error: float, levels: int) -> None:
    """Raise :class:`UserError` where the solutions depend on how finely they are solved, or are far
    larger than images: there is nothing that a sampler could be held against."""
    ends = held.end.flatten(1)
    size, spread = float(ends.square().mean().sqrt()), float(ends.std(dim=1).mean())
    if not error <= SETTLED * max(spread, 1e-12):  # as NaN is not
        raise UserError(
            f"The model's own solution does not settle: twice the {levels} levels change images of"
            f" contrast {spread:.3g} by {error:.3g}; lower the guidance scale, or give the"
            " teacher more levels."
        )
    if not size <= LARGEST:
        raise UserError(
            f"The model's own solution has the size {size:.3g} (root mean square), which images in"
            f" [−1, 1] and scaled latents do not have (at most {LARGEST:g}): it runs away. Check"
            " what the model predicts (kind) and its process; under guidance lower the scale."
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
