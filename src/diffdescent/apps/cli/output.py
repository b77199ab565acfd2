"""The output folder of a run: what is there already, what may be continued, and files that are
whole or absent."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffdescent.base.errors import UserError
from diffdescent.base.files import make_folder, write_atomically

RECORD = "run.json"
_IMAGE = re.compile(r"\d{6,}\.png")
_OURS = re.compile(r"\d{6,}\.png|run\.json|sheet\.png|trajectory\.png|\..*\.partial")
_FREE = ("samples", "command", "seconds", "network_calls")
"""Entries of a record in which a continued run may differ from what is on disk."""


def check(out: Path, settings: dict[str, Any], overwrite: bool) -> None:
    """Whether a run with ``settings`` may write into ``out``: it is new, holds the same run, or may
    be overwritten.

    Nothing is changed. Raises :class:`UserError` when it holds a run with other settings, or files
    that no run wrote.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder with --out.")
    present = [p for p in out.iterdir() if not p.name.endswith(".partial")] if out.is_dir() else []
    foreign = [p.name for p in present if not _OURS.fullmatch(p.name)]
    if overwrite and foreign:
        raise UserError(
            f"{out} holds files that no run wrote ({foreign[0]}, …); empty it yourself or choose"
            " another --out."
        )
    if present and not overwrite:
        _require_same(out, settings)


def begin(out: Path, settings: dict[str, Any], overwrite: bool) -> None:
    """Make the folder, remove an overwritten run and what was left half-written, and write the
    record."""
    make_folder(out)
    for path in out.iterdir():
        if _OURS.fullmatch(path.name) and (overwrite or path.name.endswith(".partial")):
            path.unlink()
    write_atomically(out / RECORD, (json.dumps(settings, indent=2) + "\n").encode())


def _require_same(out: Path, settings: dict[str, Any]) -> None:
    record = out / RECORD
    if not record.is_file():
        raise UserError(
            f"{out} exists and holds no {RECORD}; choose another --out, or --overwrite to replace a"
            " run."
        )
    try:
        before = json.loads(record.read_text())
    except ValueError:
        raise UserError(
            f"{record} is damaged, so the run cannot be continued; use --overwrite or another"
            " --out."
        ) from None
    for key in (
        *settings,
        *before,
    ):  # as they were written: what a user chose comes before what follows from it
        if key not in _FREE and before.get(key) != settings.get(key):
            raise UserError(
                f"{out} holds a run with another {key} ({_short(before.get(key))} there,"
                f" {_short(settings.get(key))} now); use --overwrite to replace it, another --out"
                " to keep both, or the same settings to continue it."
            )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"


def image_path(out: Path, sample: int) -> Path:
    """Where sample number ``sample`` is written."""
    return out / f"{sample:06d}.png"


def missing(out: Path, samples: Sequence[int]) -> list[int]:
    """The samples whose image is not on disk yet. Files are written atomically, so a file that is
    there is whole."""
    return [i for i in samples if not image_path(out, i).is_file()]


def present(out: Path) -> list[int]:
    """The samples whose image is on disk."""
    return [int(p.stem) for p in images_in(out)] if out.is_dir() else []


def images_in(out: Path) -> list[Path]:
    """Every image of the run, in order."""
    return sorted((p for p in out.iterdir() if _IMAGE.fullmatch(p.name)), key=lambda p: int(p.stem))
