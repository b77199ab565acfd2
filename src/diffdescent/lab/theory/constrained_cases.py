"""Data and constraints whose intersection is known: subspaces at an angle, a sphere cut by a plane,
points of which some keep the constraint."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .constrained import Distance
from .sets import Points, Set, Sphere, Subspace

SIZE = 32
"""Dimensions of the space."""


@dataclass(frozen=True, eq=False)
class Case:
    """A set of data, a constraint, the distance to what they share, and the cosine of the angle at
    which they meet (NaN for points, which have none)."""

    name: str
    data: Set
    allowed: Set
    shared: Distance
    cosine: float


def _distance(k: Set) -> Distance:
    return lambda z: k.project(z).distance


def subspaces(degrees: float, shared: int = 2, apart: int = 3) -> Case:
    """Two subspaces with ``shared`` directions in common and ``apart`` others, each at an angle of
    ``degrees`` to its partner."""
    eye = torch.eye(SIZE, dtype=torch.float64)
    turn = math.radians(degrees)
    common, mine = eye[:shared], eye[shared : shared + apart]
    other = math.cos(turn) * mine + math.sin(turn) * eye[shared + apart : shared + 2 * apart]
    origin = torch.zeros(SIZE, dtype=torch.float64)
    return Case(
        f"subspaces at {degrees:g}°",
        Subspace(origin, torch.cat((common, mine))),
        Subspace(origin, torch.cat((common, other))),
        _distance(Subspace(origin, common)),
        math.cos(turn),
    )


def cut_sphere(height: float, radius: float = 1.0) -> Case:
    """A sphere and the plane at ``height`` above its center; they meet at the angle arccos
    height/radius."""
    eye = torch.eye(SIZE, dtype=torch.float64)
    foot = height * eye[0]
    circle = Sphere(foot, math.sqrt(radius**2 - height**2), eye[1:])
    return Case(
        f"sphere, plane at {height / radius:g} r",
        Sphere(torch.zeros(SIZE, dtype=torch.float64), radius),
        Subspace(foot, eye[1:]),
        _distance(circle),
        height / radius,
    )


def some_points(members: int = 10, count: int = 200, fixed: int = 4) -> Case:
    """``count`` normal points, of which ``members`` have the same first ``fixed`` coordinates; the
    constraint fixes these."""
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(count, SIZE, generator=generator, dtype=torch.float64)
    points[:members, :fixed] = points[0, :fixed]
    eye = torch.eye(SIZE, dtype=torch.float64)
    foot = torch.cat((points[0, :fixed], torch.zeros(SIZE - fixed, dtype=torch.float64)))
    inside: Tensor = points[:members]
    return Case(
        f"{count} points, {members} of them in a subspace",
        Points(points),
        Subspace(foot, eye[fixed:]),
        lambda z: torch.cdist(z, inside).amin(1),
        math.nan,
    )
