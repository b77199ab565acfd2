"""How commands keep their numbers and pictures, in folders and files of their own."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffdescent.base.errors import UserError
from diffdescent.run.pieces import Shelf
from diffdescent.run.store import Kind, Store

SETTINGS = "settings.json"
"""The record of the settings that made the results in a folder."""
CACHE = "cache/"
"""Where the pieces of a long computation are kept within a folder of results."""
_PIECE = r"[^/]+-[0-9a-f]{20}\.npz"


@dataclass(frozen=True)
class Results:
    """Results that are written into a folder, all of the same settings: by :meth:`Place.of`."""

    store: Store
    below: str

    @property
    def pieces(self) -> Shelf:
        """Where the pieces of the computation are kept."""
        return Shelf(self.store, self.below)

    def write(self, name: str, content: Any) -> None:
        """Write a text, or anything that JSON can hold. Raises :class:`UserError` as the store
        does."""
        text = content if isinstance(content, str) else json.dumps(content, indent=1) + "\n"
        self.store.claim()
        self.store.write(name, text.encode())

    def file(self, name: str) -> Path:
        """The file of a picture that is about to be drawn. Raises :class:`UserError` as the store
        does."""
        self.store.claim()
        return self.store.path(name)


@dataclass(frozen=True)
class Place:
    """The folder for a command's results: by :func:`place`."""

    folder: Path
    kind: Kind
    overwrite: bool
    below: str

    def of(self, settings: Mapping[str, Any]) -> Results:
        """The results of these settings, which are all that they depend on.

        The folder is claimed with the first piece or result that is written; until then nothing is
        changed. Raises :class:`UserError` where the folder holds results of other settings and may
        not be overwritten.
        """
        store = Store(self.folder, self.kind, {"of": self.kind.what, **settings}, self.overwrite)
        store.check()
        return Results(store, self.below)


def place(
    out: Path,
    what: str,
    names: Sequence[str],
    overwrite: bool,
    *,
    below: str = CACHE,
    folders: Sequence[str] = (),
) -> Place:
    """The folder ``out`` for the results ``names`` of the command that makes a ``what``.

    Pieces, in the folder ``below``, fit any settings and are kept by ``overwrite``; ``folders`` are
    what else the command makes within. Raises :class:`UserError` where the folder is another
    command's or holds other files.
    """
    kind = Kind(
        what=what,
        record=SETTINGS,
        entries=re.compile("|".join(map(re.escape, names))),
        others=re.compile("|".join(rf"{re.escape(name)}/.*" for name in folders) or "(?!)"),
        pieces=re.compile(re.escape(below) + _PIECE),
        before=re.compile(rf"\..*|{re.escape(below.rstrip('/')) or _PIECE}"),
        owns=lambda record: record.get("of") == what,
        remedy="use --overwrite to replace it, another --out to keep both, or the same settings to"
        " repeat it.",
    )
    Store(out, kind, {}, overwrite).check_kind()
    return Place(out, kind, overwrite, below)


def check_new(
    out: Path | None, overwrite: bool, option: str = "--out", ending: str | None = None
) -> None:
    """Raise :class:`UserError` where the file ``out`` is there already and may not be replaced, or
    its name lacks the ``ending`` (".json") by which it is read again."""
    if out is None:
        return
    if ending is not None and out.suffix != ending:
        better = out.with_suffix(ending)
        raise UserError(f"{option} must end in {ending}; write {better} for {out}.")
    if out.exists() and not overwrite:
        raise UserError(f"{out} exists; choose another {option}, or --overwrite to replace it.")


def finite(value: float | None) -> float | None:
    """The value, or None where JSON has no number for it."""
    return value if value is not None and math.isfinite(value) else None
