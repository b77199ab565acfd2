"""Text to set: ``"symmetry(horizontal) & box"``, elements in the grammar of recipes."""

from __future__ import annotations

from functools import lru_cache

import torch

from diffdescent.core.grammar import read_elements

from .base import CONSTRAINTS, Constraint, ConstraintSet, Shape
from .intersection import Intersection


def parse_constraints(text: str) -> tuple[Constraint, ...]:
    """The constraints that ``text`` names, with ``&`` between them.

    Raises :class:`~diffdescent.UserError` for wrong syntax, names (with the nearest ones), options
    and values.
    """
    return read_elements(text, "constraint", CONSTRAINTS, "symmetry(horizontal) & box", "&")


@lru_cache(maxsize=16)
def bound_set(
    text: str, shape: Shape, device: torch.device, dtype: torch.dtype
) -> ConstraintSet | None:
    """The images of ``shape`` that keep all constraints of ``text``, or None where it names none.

    Made once for each shape: some constraints read files or decompose matrices.
    """
    sets = [c.bind(shape, device=device, dtype=dtype) for c in parse_constraints(text)]
    return Intersection(sets) if sets else None
