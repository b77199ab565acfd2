"""Sets by name, as the command line takes them."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.predict import Predictor

from ..image_data import read_set
from .base import Set
from .points import Points
from .sphere import Sphere
from .subspace import Subspace
from .support import support

NAMES = ("auto", "images:PATH", "point", "sphere(RADIUS)")


def images_path(text: str) -> Path:
    """The path in ``images:PATH`` (or PATH alone). Raises :class:`UserError` where there is
    none."""
    path = text.strip().removeprefix("images:").strip()
    if not path:
        raise UserError(
            "There is no path after images:; write for example images:photos/ or images:set.npz."
        )
    return Path(path)


def named_set(
    text: str,
    model: Predictor | None,
    *,
    limit: int | None = None,
    memory: float = 2.0,
    rows: int = 64,
    intrinsic: float | None = None,
) -> Set:
    """The set called ``text``: ``auto`` (what the model's data lie on, where it knows),
    ``images:PATH``, ``point`` (the origin) or ``sphere(RADIUS)`` about it.

    ``limit``, ``memory`` and ``rows`` are those of :func:`read_set`; ``intrinsic`` is the dimension
    of the manifold that images are taken to be samples of.

    Raises :class:`UserError` for another name, where a name needs a model's shape, and for a
    dimension given for a set that knows its own.
    """
    found = _named(text.strip(), model, limit, memory, rows)
    if intrinsic is None:
        return found
    if not isinstance(found, Points):
        raise UserError(
            f"The set {text!r} knows its own dimension; leave --dimension to sets of images."
        )
    return Points(found.data, intrinsic=intrinsic)


def _named(text: str, model: Predictor | None, limit: int | None, memory: float, rows: int) -> Set:
    if text.startswith("images:"):
        return Points(read_set(images_path(text), limit=limit, memory=memory, rows=rows))
    if text == "auto":
        if model is None:
            raise UserError("The set 'auto' is that of a model; give a model, or name another set.")
        return support(model)
    shape = None if model is None else model.shape
    sphere = re.fullmatch(r"sphere\(\s*([0-9.eE+-]+)\s*\)", text)
    if text != "point" and not sphere:
        raise unknown("set", text, NAMES)
    if shape is None:
        raise UserError(
            f"The set {text!r} takes its dimensions from a model with a known shape; give one."
        )
    center = torch.zeros(tuple(shape), dtype=torch.float64)
    if not sphere:
        return Subspace(center)
    try:
        radius = float(sphere.group(1))
    except ValueError:
        raise UserError(
            f"Cannot read the radius in {text!r}; write for example sphere(10)."
        ) from None
    return Sphere(center, radius)
