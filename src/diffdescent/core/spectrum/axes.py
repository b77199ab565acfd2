"""Orthonormal axes of the channels, and which of them share a curve."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown

OWN_GROUPS = 4
"""Up to this many channels without a meaning of their own have one curve each; more share one."""

EVERY = "every"
"""The name of the axes of :func:`same_for_all`."""


@dataclass(frozen=True)
class Axes:
    """``matrix`` holds an axis in each row, (C, C), orthonormal; axis i uses the curve of number
    ``groups[i]``.

    Raises :class:`UserError` for a matrix that is not orthonormal to 1e-6 and for groups that are
    not numbered 0, 1, … without a gap.
    """

    name: str
    matrix: tuple[tuple[float, ...], ...]
    groups: tuple[int, ...]

    def __post_init__(self) -> None:
        count = len(self.matrix)
        square = count > 0 and all(len(row) == count for row in self.matrix)
        m = np.array(self.matrix, dtype=np.float64) if square else np.zeros((0, 0))
        if not square or not np.allclose(m @ m.T, np.eye(count), atol=1e-6):
            raise UserError(
                f"The channel axes {self.name!r} are not orthonormal; give a square matrix with"
                " rows of length 1 at right angles."
            )
        if self.name == EVERY and count != 1:
            raise UserError(f"The channel axes {EVERY!r} are one, for all channels, not {count}.")
        known = sorted(set(self.groups))
        if len(self.groups) != count or known != list(range(len(known))):
            raise UserError(
                f"The channel axes {self.name!r} need a group 0, 1, … for each of the {count}"
                f" axes, not {list(self.groups)}."
            )

    @property
    def channels(self) -> int:
        """C."""
        return len(self.matrix)

    @property
    def count(self) -> int:
        """How many curves there are."""
        return max(self.groups) + 1

    def members(self, group: int) -> list[int]:
        """The axes that use the curve of this number."""
        return [i for i, g in enumerate(self.groups) if g == group]

    @property
    def group_names(self) -> tuple[str, ...]:
        """What each curve belongs to, for people."""
        if self.name == "opponent":
            return ("luma", "chroma")
        return ("all",) if self.count == 1 else tuple(f"axis {i}" for i in range(self.count))

    def tensor(self, like: Tensor) -> Tensor:
        """The matrix on the device and in the dtype of ``like``."""
        return torch.tensor(self.matrix, dtype=torch.float64).to(like.dtype).to(like.device)

    @property
    def plain(self) -> bool:
        """Whether the axes are the channels themselves."""
        return all(v == (i == j) for i, row in enumerate(self.matrix) for j, v in enumerate(row))

    def fit(self, channels: int) -> bool:
        """Whether states of so many channels can be written in these axes."""
        return self.name == EVERY or self.channels == channels


def opponent() -> Axes:
    """Luma (1, 1, 1)/√3 with a curve of its own, and the two chroma axes (1, −1, 0)/√2 and (1, 1,
    −2)/√6, which share one."""
    a, b, c = 1 / math.sqrt(3), 1 / math.sqrt(2), 1 / math.sqrt(6)
    return Axes("opponent", ((a, a, a), (b, -b, 0.0), (c, c, -2 * c)), (0, 1, 1))


def identity(channels: int) -> Axes:
    """The channels themselves, with a curve each where they are few."""
    rows = tuple(tuple(float(i == j) for j in range(channels)) for i in range(channels))
    own = channels <= OWN_GROUPS
    return Axes("identity", rows, tuple(range(channels)) if own else (0,) * channels)


def same_for_all() -> Axes:
    """The channels themselves, however many, which all share one curve."""
    return Axes(EVERY, ((1.0,),), (0,))


def principal(samples: Tensor) -> Axes:
    """The principal axes of the channels of ``samples`` (B, C, H, W), the largest variance
    first."""
    flat = samples.detach().double().cpu().transpose(0, 1).flatten(1)
    _, vectors = torch.linalg.eigh(torch.cov(flat).reshape(len(flat), len(flat)))
    rows = vectors.T.flip(0)
    largest = rows.abs().argmax(dim=1, keepdim=True)
    rows = rows * torch.sign(rows.gather(1, largest))  # an axis has no sign of its own
    own = len(rows) <= OWN_GROUPS
    groups = tuple(range(len(rows))) if own else (0,) * len(rows)
    return Axes("principal", tuple(tuple(map(float, row)) for row in rows.tolist()), groups)


def named_axes(name: str, channels: int) -> Axes:
    """``"opponent"`` (three channels alone) or ``"identity"``; ``"usual"`` is the first where it
    fits.

    Raises :class:`UserError` for another name and where the channels do not fit.
    """
    if name == "usual":
        return opponent() if channels == 3 else identity(channels)
    if name == "opponent":
        if channels != 3:
            raise UserError(
                f"Opponent axes belong to three colours, and the images have {channels} channels;"
                " use identity axes."
            )
        return opponent()
    if name == "identity":
        return identity(channels)
    raise unknown("channel axes", name, ("usual", "opponent", "identity"))
