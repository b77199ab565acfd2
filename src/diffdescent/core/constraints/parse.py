"""Text to set: ``"symmetry(horizontal) & box"``, elements in the grammar of recipes."""

from __future__ import annotations

import os
from functools import lru_cache

import torch

from diffdescent.core.grammar import read_elements

from .base import CONSTRAINTS, Constraint, ConstraintSet, Shape
from .intersection import Intersection


def parse_constraints(text: str) -> tuple[Constraint, ...]:
    """The constraints that ``text`` names, with ``&`` between them.

    Args:
        text: such as ``"symmetry(horizontal) & box"``; ``diffdescent list constraints`` prints the
            names.

    Returns:
        The constraints in order, none for an empty text.

    Raises:
        UserError: wrong syntax, names (with the nearest ones), options and values.
    """
    return read_elements(text, "constraint", CONSTRAINTS, "symmetry(horizontal) & box", "&")


def bound_set(
    text: str, shape: Shape, device: torch.device, dtype: torch.dtype
) -> ConstraintSet | None:
    """The images of ``shape`` that keep all constraints of ``text``, or None where it names none.

    Made once for each shape, and again when a file has changed: some constraints read files or
    decompose matrices.

    Args:
        text: as in :func:`parse_constraints`.
        shape: (C, H, W).
        device: where the images are.
        dtype: of the images.

    Returns:
        The set, the intersection where there are several constraints.
    """
    constraints = parse_constraints(text)
    changed = tuple(_changed(file) for one in constraints for file in one.files)
    return _bound(constraints, shape, device, dtype, changed)


@lru_cache(maxsize=16)
def _bound(
    constraints: tuple[Constraint, ...],
    shape: Shape,
    device: torch.device,
    dtype: torch.dtype,
    changed: tuple[int, ...],
) -> ConstraintSet | None:
    sets = [c.bind(shape, device=device, dtype=dtype) for c in constraints]
    return Intersection(sets) if sets else None


def _changed(file: str) -> int:
    """When a file was changed last, in nanoseconds; 0 where there is none, which is said when it is
    read."""
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0
