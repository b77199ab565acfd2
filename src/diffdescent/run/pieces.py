"""Pieces: what a long computation has made so far, in files named after everything that they depend
on.

A piece is a set of named arrays, written whole or not at all. A computation that was killed finds
the pieces that it had made and goes on; a changed setting is another name, so that nothing stale is
ever read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from diffdescent.base.errors import UserError
from diffdescent.base.files import (
    Arrays,
    check_place,
    kept_arrays,
    make_folder,
    pack_arrays,
    write_atomically,
)
from diffdescent.base.hashes import json_hash
from diffdescent.core.grid import Grid
from diffdescent.core.model_info import info
from diffdescent.core.noise import normals
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import Recipe
from diffdescent.models.exact import digest

from .store import Store

__all__ = ["Arrays", "Pieces", "Shelf", "levels_of", "model_identity", "recipe_identity"]


@dataclass(frozen=True)
class Shelf:
    """The folder ``below`` of a store, for pieces; the store is claimed before the first one is
    written."""

    store: Store
    below: str = ""

    def read(self, name: str) -> Arrays | None:
        """The arrays of a piece, None where it is not there; a damaged one is set aside."""
        return self.store.arrays(self.below + name)

    def write(self, name: str, arrays: Arrays) -> None:
        """Write a piece, atomically. Raises :class:`UserError` as the store does."""
        self.store.claim()
        self.store.write(self.below + name, pack_arrays(arrays))


@dataclass(frozen=True)
class _Folder:
    """A folder of its own for pieces."""

    path: Path

    def read(self, name: str) -> Arrays | None:
        return kept_arrays(self.path / name)

    def write(self, name: str, arrays: Arrays) -> None:
        make_folder(self.path)
        write_atomically(self.path / name, pack_arrays(arrays))


@dataclass
class Pieces:
    """A folder of pieces, or a store's, that share the settings ``base``; without a folder nothing
    is kept.

    ``progress`` is called with the number of pieces that are there. Raises :class:`UserError` where
    the folder cannot be made or written.
    """

    folder: Path | Shelf | None
    base: Mapping[str, Any] = field(default_factory=dict)
    progress: Callable[[int], None] | None = None
    _done: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if isinstance(self.folder, Shelf):
            check_place(self.folder.store.folder)
        elif self.folder is not None:
            check_place(self.folder)

    def get(self, kind: str, settings: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
        """The piece of these settings (JSON) from its file, or made and written. A damaged file is
        set aside and made again."""
        found = None
        if self.folder is None:
            found = make()
        else:
            name = json_hash({**self.base, "piece": kind, **settings}, 20)
            place = self.folder if isinstance(self.folder, Shelf) else _Folder(self.folder)
            kept = place.read(f"{kind}-{name}.npz")
            found = make() if kept is None else kept
            if kept is None:
                place.write(f"{kind}-{name}.npz", found)
        self._done += 1
        if self.progress is not None:
            self.progress(self._done)
        return found


def levels_of(grid: Grid) -> list[list[float]]:
    """A grid as settings: its times, α and σ."""
    return [grid.t.tolist(), grid.alpha.tolist(), grid.sigma.tolist()]


def recipe_identity(recipe: Recipe) -> str:
    """A recipe as a setting: its text, and of each file that it names a hash of what was read."""
    return " ".join([str(recipe), *(f"#{found[:12]}" for found in recipe.contents.values())])


def model_identity(model: Predictor) -> str:
    """The model's fingerprint; for one without, a hash of what it answers to fixed noise at three
    noise levels, with a label where the model knows labels.

    Raises :class:`UserError` where neither is known: a model without a fingerprint and a shape.
    """
    known = info(model)
    if (fingerprint := known.fingerprint) is not None:
        return fingerprint
    if model.shape is None:
        raise UserError(
            "To keep results, a model needs a fingerprint or a shape that tells it from others; set"
            " one of the two."
        )
    device = known.device
    x = normals(0, torch.arange(2), tuple(model.shape), 0).to(device)
    cond = None
    if known.needs_label or known.conditional:
        cond = torch.full((len(x),), (known.labels or (0,))[0], device=device)
    low, high = model.process.t_min, model.process.t_max
    with torch.no_grad():
        times = (low + share * (high - low) for share in (0.1, 0.5, 0.9))
        answers = [model(x, model.process.point(t), cond).raw.float() for t in times]
    return digest(answers, "answers")
