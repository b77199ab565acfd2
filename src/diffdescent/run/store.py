"""The store: a folder with the record of its settings, and entries that are whole or absent.

Every command that keeps something keeps it here. The record is claimed before the first entry, so
that of two processes with other settings one is refused; entries are written atomically and carry
checksums (.npz and .png have their own); damaged ones are set aside and made again; the same
settings continue after a kill, others are refused by naming what differs.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diffdescent.base.errors import UserError
from diffdescent.base.files import (
    DAMAGED,
    PARTIAL,
    Arrays,
    create_file,
    kept_arrays,
    make_folder,
    set_aside,
    sweep,
    write_atomically,
)
from diffdescent.base.whole import is_whole

from .json_files import damaged, json_text, read_object, shortly

NOTHING = re.compile(r"(?!)")
"""Matches no name."""
ROUNDING = 1e-12
"""Relative: settings that differ by less are the same."""
NAMED = 4
"""An error names at most this many differences."""
Document = Mapping[str, Any]
Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Kind:
    """What a folder keeps.

    ``what`` names it in messages (``"run"``), ``record`` is the file of its settings, ``entries``
    matches the names of its entries (with / below the folder), ``others`` those of further files
    that belong to it, and ``pieces`` those of entries that are named after everything that they
    depend on: they fit any settings, so that overwriting keeps them. A folder without a record may
    hold what ``before`` matches. ``owns`` tells a record of this kind from one that another command
    keeps under the same name. Of the record, ``section`` is compared (None: all of it), but for the
    entries ``free``; a ``lenient`` kind leaves out what an older record does not say. ``view``
    makes of a record the entries that are compared and named, and raises for one that cannot be.
    ``remedy`` ends the sentence of a refusal.
    """

    what: str
    record: str
    entries: re.Pattern[str]
    remedy: str
    others: re.Pattern[str] = NOTHING
    pieces: re.Pattern[str] = NOTHING
    before: re.Pattern[str] = re.compile(r"\..*")
    owns: Callable[[dict[str, Any]], bool] = lambda _: True
    free: frozenset[str] = frozenset()
    section: str | None = None
    lenient: bool = False
    view: Callable[[dict[str, Any], str], dict[str, Any]] | None = None

    def settings(self, document: Any, path: Path) -> dict[str, Any]:
        """What is compared of a record. Raises :class:`UserError` for a damaged one, and for one of
        another kind."""
        found = document
        if isinstance(document, dict) and not self.owns(document):
            raise UserError(
                f"{path} is not that of a {self.what}: the folder belongs to another command;"
                " choose another one."
            )
        if isinstance(document, dict) and self.section is not None:
            found = document.get(self.section)
        if not isinstance(found, dict):
            raise damaged(path)
        if self.view is not None:
            found = self.view(found, str(path))
        return {key: value for key, value in found.items() if key not in self.free}

    def ours(self, name: str) -> bool:
        """Whether a file of this name belongs to such a folder."""
        plain = name.removesuffix(DAMAGED)
        return (
            plain == self.record
            or PARTIAL.fullmatch(name.rpartition("/")[2]) is not None
            or any(one.fullmatch(plain) for one in (self.entries, self.others, self.pieces))
        )


@dataclass
class Store:
    """The ``folder`` of what ``document`` describes, a JSON object.

    Nothing is changed before :meth:`claim`. With ``overwrite`` the claim removes what an earlier
    one kept there.
    """

    folder: Path
    kind: Kind
    document: Document
    overwrite: bool = False
    _stamp: Stamp | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.document = json.loads(json.dumps(self.document))  # as it will be read back

    @property
    def record(self) -> Path:
        """The file of the settings."""
        return self.folder / self.kind.record

    @property
    def claimed(self) -> bool:
        """Whether :meth:`claim` was called."""
        return self._stamp is not None

    def _pending(self, name: str) -> bool:
        """Whether this entry, if it is in the folder, is about to be removed."""
        return self.overwrite and not self.claimed and not self.kind.pieces.fullmatch(name)

    def check(self) -> None:
        """Raise :class:`UserError` unless the folder is new, holds the same settings, or may be
        overwritten; nothing is changed.

        A folder with other files is never overwritten.
        """
        self.check_kind()
        if not self.overwrite and self.record.is_file():
            self._require_same(read_object(self.record))

    def check_kind(self) -> None:
        """Raise :class:`UserError` unless the folder is new or of this kind, with whatever
        settings; nothing is changed."""
        if self.folder.exists() and not self.folder.is_dir():
            raise UserError(f"{self.folder} is a file; give a folder.")
        if not self.folder.is_dir():
            return
        if self.overwrite:
            foreign = [name for name in self._files() if not self.kind.ours(name)]
            if foreign:
                raise UserError(
                    f"{self.folder} holds files that no {self.kind.what} wrote ({foreign[0]}, …);"
                    " empty it yourself or choose another folder."
                )
            return
        strange = any(not self.kind.before.fullmatch(path.name) for path in self.folder.iterdir())
        # Only now: where another process has claimed the folder since, its record came first.
        if not self.record.is_file():
            if strange:
                raise UserError(
                    f"{self.folder} holds files, but not the {self.kind.record} that says of"
                    f" which {self.kind.what}, so it is not the folder of a {self.kind.what};"
                    " choose another folder."
                )
            return
        self.kind.settings(read_object(self.record), self.record)

    def claim(self) -> None:
        """Take the folder: make it, remove what is overwritten, and write the record, before any
        entry.

        Of two processes with other settings that claim a folder at once, one has it and the other
        one is refused. A folder that is claimed already stays as it is. Raises :class:`UserError`
        as :meth:`check` does, and where the folder cannot be written.
        """
        if self.claimed:
            return
        self.check()
        make_folder(self.folder)
        if self.overwrite:
            self._clear()
            write_atomically(self.record, self._text())
            self._clear()  # what another process wrote in between; from now on it is refused
        elif not create_file(self.record, self._text()):
            before = read_object(self.record)
            self._require_same(before)
            if before != self.document:
                write_atomically(self.record, self._text())
        self._sweep()
        self._stamp = _stamp(self.record)

    def update(self, document: Document) -> None:
        """Put a record with other free entries in place of the one that was claimed."""
        self._still_ours()
        self.document = json.loads(json.dumps(document))
        write_atomically(self.record, self._text())
        self._stamp = _stamp(self.record)

    def path(self, name: str) -> Path:
        """Where the entry ``name`` is."""
        return self.folder / name

    def has(self, name: str) -> bool:
        """Whether the entry is there and whole; nothing is, before an overwriting claim."""
        return not self._pending(name) and is_whole(self.path(name))

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that are not there, or damaged."""
        return [name for name in names if not self.has(name)]

    def write(self, name: str, data: bytes) -> None:
        """Write an entry, atomically; a damaged one is set aside first. The folder must be claimed.

        Raises :class:`UserError` where it cannot be written, and when another process has
        overwritten the folder with other settings.
        """
        self._still_ours()
        path = self.path(name)
        if path.is_file() and not is_whole(path):
            set_aside(path)
        make_folder(path.parent)
        write_atomically(path, data, alone=False)

    def arrays(self, name: str) -> Arrays | None:
        """The arrays of an .npz entry, None where it is not there; a damaged one is set aside."""
        return None if self._pending(name) else kept_arrays(self.path(name))

    def _files(self) -> list[str]:
        if not self.folder.is_dir():
            return []
        found = (p for p in self.folder.rglob("*") if p.is_file())
        return sorted(p.relative_to(self.folder).as_posix() for p in found)

    def _text(self) -> bytes:
        return json_text(self.document).encode()

    def _clear(self) -> None:
        """Remove the entries of what was there before, and what came with them; pieces stay."""
        for name in self._files():
            kept = name == self.kind.record or self.kind.pieces.fullmatch(name)
            if not kept and self.kind.ours(name):
                self.path(name).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove what killed processes left half-written."""
        for folder in (self.folder, *(p for p in self.folder.rglob("*") if p.is_dir())):
            with contextlib.suppress(FileNotFoundError):  # a half-written folder, just swept away
                sweep(folder)

    def _require_same(self, before: Any) -> None:
        there = self.kind.settings(before, self.record)
        now = self.kind.settings(self.document, self.record)
        keys = dict.fromkeys([*there, *([] if self.kind.lenient else now)])
        different = [
            f"{key} ({shortly(there.get(key))} there, {shortly(now.get(key))} now)"
            for key in keys
            if not _same(there.get(key), now.get(key))
        ]
        if different:
            more = len(different) - NAMED
            raise UserError(
                f"{self.folder} holds a {self.kind.what} that differs in"
                f" {' and '.join(different[:NAMED])}"
                f"{f' and {more} more differences' if more > 0 else ''}; {self.kind.remedy}"
            )

    def _still_ours(self) -> None:
        """Raise :class:`UserError` when the record on disk has come to say something else."""
        if self._stamp is None:
            raise RuntimeError("The store must be claimed before it is written to.")
        now = _stamp(self.record)
        if now == self._stamp:
            return
        if now is None:
            raise UserError(
                f"{self.record} has been removed while this {self.kind.what} was running; give the"
                " same command again."
            )
        self._require_same(read_object(self.record))
        self._stamp = now


def _same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same, numbers up to the rounding of another processor."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=ROUNDING)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return bool(one == other)


def _stamp(path: Path) -> Stamp | None:
    """What changes whenever a file is replaced; None for none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
