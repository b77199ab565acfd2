"""The output folder of ``sample``: an image a sample number, a sheet and the run's record."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffdescent.base.images import png_bytes, read_image, save_png, sheet
from diffdescent.run.record import FREE, RECORD, RunRecord, check_schema
from diffdescent.run.store import Kind, Store


def _compared(entries: dict[str, Any], where: str) -> dict[str, Any]:
    """The entries of a record of this version, what a pipeline was asked among the others."""
    check_schema(entries, where)
    asked = entries.get("text_to_image")
    plain = {key: value for key, value in entries.items() if key != "text_to_image"}
    return {**plain, **asked} if isinstance(asked, dict) else plain


_IMAGE = re.compile(r"\d{6,}\.png")
RUN = Kind(
    what="run",
    record=RECORD,
    entries=_IMAGE,
    others=re.compile(r"(sheet|trajectory)\.png"),
    free=FREE,
    view=_compared,
    remedy="use --overwrite to replace it, another --out to keep both, or the same settings to"
    " continue it.",
)


@dataclass
class Output:
    """The folder ``out`` of a run, and the samples that are asked of it now.

    Making one checks the folder and changes nothing. The folder is claimed when the first images
    are kept: a mistake that shows when the model runs leaves it as it was. ``begun`` is when the
    command began, by ``time.monotonic``.
    """

    out: Path
    record: RunRecord
    chosen: Sequence[int]
    overwrite: bool
    begun: float

    def __post_init__(self) -> None:
        self.store = Store(self.out, RUN, self.record.entries(), self.overwrite)
        self.store.check()
        self.todo = [i for i in self.chosen if not self.store.has(image_name(i))]

    def claim(self) -> None:
        """Take the folder, once."""
        if not self.store.claimed:
            self.store.claim()

    def keep(self, samples: Iterable[int], images: Tensor) -> None:
        """Write the images (n, C, H, W), uint8, of these samples."""
        self.claim()
        for i, image in zip(samples, images, strict=True):
            self.store.write(image_name(i), png_bytes(image))

    def finish(self, most: int, channels: int = 3) -> float:
        """Write the sheet, of at most ``most`` images, and the record; the seconds of it all."""
        self.claim()
        files = [self.store.path(image_name(i)) for i in present(self.out)[:most]]
        shown = torch.stack([read_image(path, channels) for path in files])
        save_png(sheet(shown), self.out / "sheet.png")
        seconds = round(time.monotonic() - self.begun, 3)
        self.store.update(replace(self.record, seconds=seconds).entries())
        return seconds

    @property
    def summary(self) -> str:
        """How many images were made, and how many were there."""
        there = len(self.chosen) - len(self.todo)
        return f"{len(self.todo)} images{f' ({there} were there)' if there else ''}"


def image_name(sample: int) -> str:
    """The file of sample number ``sample``."""
    return f"{sample:06d}.png"


def present(out: Path) -> list[int]:
    """The samples whose image is in a folder."""
    if not out.is_dir():
        return []
    return sorted(int(path.stem) for path in out.iterdir() if _IMAGE.fullmatch(path.name))


def together(chosen: Sequence[int], out: Path, overwrite: bool) -> tuple[int, ...]:
    """The samples of a run that is continued: those asked for and those that are there."""
    return tuple(sorted({*chosen, *([] if overwrite else present(out))}))
