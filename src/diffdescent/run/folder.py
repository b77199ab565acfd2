"""The folder of a run: an image a sample number, a sheet, and the record."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from diffdescent.base.errors import UserError
from diffdescent.base.images import read_image, save_png, sheet

from .record import FREE, RECORD, RunRecord, check_schema, without_grid_name
from .store import Kind

SHEET, PREVIEW = "sheet.png", "preview.png"
SHEET_LIMIT = 400
"""A sheet shows at most this many images."""
_IMAGE = re.compile(r"\d{6,}\.png")


def _compared(entries: dict[str, Any], where: str) -> dict[str, Any]:
    """The entries of a record of this version, what a pipeline was asked among the others; a grid
    is its levels, whatever it is called."""
    check_schema(entries, where)
    asked = entries.get("text_to_image")
    plain = without_grid_name({k: v for k, v in entries.items() if k != "text_to_image"})
    return {**plain, **asked} if isinstance(asked, dict) else plain


RUN = Kind(
    what="run",
    record=RECORD,
    entries=_IMAGE,
    others=re.compile(r"(sheet|trajectory|preview)\.png"),
    owns=lambda record: "methods" not in record,  # as a restoration's, which has the same name
    free=FREE,
    view=_compared,
    remedy="use --overwrite (overwrite=True) to replace it, another folder to keep both, or the"
    " same settings to continue it.",
)


def image_name(sample: int) -> str:
    """The file of sample number ``sample``."""
    return f"{sample:06d}.png"


def present(out: Path) -> list[int]:
    """The samples whose image is in a folder."""
    if not out.is_dir():
        return []
    return sorted(int(path.stem) for path in out.iterdir() if _IMAGE.fullmatch(path.name))


def joined(record: RunRecord, out: Path) -> RunRecord:
    """``record`` with the samples that the record in a folder has besides its own.

    Raises :class:`UserError` where only one of the two has labels.
    """
    if not (out / RECORD).is_file():
        return record
    before = RunRecord.read(out)
    if (before.labels is None) != (record.labels is None):
        one, other = ("without", "with") if before.labels is None else ("with", "without")
        raise UserError(
            f"{out} holds images {one} labels, and these are {other}; choose another folder."
        )
    labels = {**_labels(before), **_labels(record)}
    samples = tuple(sorted(labels))
    plain = record.labels == before.labels and not isinstance(record.labels, tuple)
    each = tuple(labels[i] for i in samples)
    return replace(record, samples=samples, labels=record.labels if plain else each)


def _labels(record: RunRecord) -> dict[int, Any]:
    """The label of each sample of a record."""
    each = record.labels
    if isinstance(each, tuple):
        return dict(zip(record.samples, each, strict=True))
    return dict.fromkeys(record.samples, each)


def write_sheet(out: Path, channels: int, most: int = SHEET_LIMIT) -> None:
    """Write the sheet of the images in a folder, at most ``most`` of them."""
    files = [out / image_name(i) for i in present(out)[:most]]
    save_png(sheet(torch.stack([read_image(path, channels) for path in files])), out / SHEET)


def recorded_width(out: Path) -> int | None:
    """How many images the network saw at once in the run that is in a folder: what a continued one
    takes, where nothing else is asked for. None where there is no such record."""
    if not (out / RECORD).is_file():
        return None
    try:
        return RunRecord.read(out).micro_batch
    except UserError:
        return None  # refused by name where the folder is checked
