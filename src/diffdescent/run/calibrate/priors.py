"""What the ridge of the rows draws to: one number for all frequencies, the closed form for Gaussian
images, or the rows of the best fixed sampler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from diffdescent.core.recipe import parse
from diffdescent.core.solvers.gaussian import step_coefficients

from .plain import as_rows
from .shape import Shape
from .subject import Subject

T = TypeVar("T")


@dataclass(frozen=True)
class RowPrior:
    """What the ridge of a row draws to: ``rows`` (groups, K, B), and with ``rest`` also what one
    number for all frequencies makes of the remainder."""

    rows: Tensor
    rest: bool


def row_priors(
    subject: Subject, walked: Sequence[float], size: Tensor, shape: Shape
) -> list[RowPrior | None]:
    """The prior of each row over the levels ``walked``: none, the second-order integrator for
    Gaussian images of power ``size``, or the fixed sampler."""
    if shape.prior == "equal":
        return [None] * (len(walked) - 1)
    if shape.prior == "fixed":
        return [*_fixed_rows(subject, walked, size, shape)]
    rows: list[RowPrior | None] = []
    for n, (base, evals) in enumerate(step_coefficients(walked, 2, size.cpu().numpy())):
        known = _padded(evals, np.zeros_like(base), n, shape)
        rows.append(RowPrior(torch.from_numpy(np.stack([base, *known], axis=1)).to(size), True))
    return rows


def _fixed_rows(
    subject: Subject, walked: Sequence[float], size: Tensor, shape: Shape
) -> list[RowPrior]:
    """The rows of the fixed sampler on these levels."""
    plan = parse(shape.recipe or "ddim").plan(subject.grid(tuple(walked)))
    found = []
    for n, row in enumerate(as_rows(plan, subject.shape[0]).rows):
        numbers = [row.base[0][0], *_padded([c[0][0] for c in row.evals], 0.0, n, shape)]
        theta = torch.tensor(numbers).to(size)[None, :, None].expand(len(size), -1, size.shape[1])
        found.append(RowPrior(theta, False))
    return found


def _padded(evals: list[T], nothing: T, n: int, shape: Shape) -> list[T]:
    """The coefficients of row ``n``, as many as it sees."""
    seen = min(n + 1, shape.history or n + 1)
    return (evals + [nothing] * seen)[:seen]
