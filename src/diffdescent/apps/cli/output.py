"""The output folder of ``sample``: an image a sample number, a sheet and the run's record."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from diffdescent.base.images import png_bytes
from diffdescent.base.words import counted
from diffdescent.run.folder import RUN, image_name, present, write_sheet
from diffdescent.run.record import RunRecord
from diffdescent.run.store import Store

T = TypeVar("T")


@dataclass
class Output:
    """The folder ``out`` of a run, and the samples that are asked of it now.

    Making one checks the folder and changes nothing. The folder is claimed when the first images
    are kept: a mistake that shows when the model runs leaves it as it was. ``seconds`` is how long
    sampling took, loading and writing left out.
    """

    out: Path
    record: RunRecord
    chosen: Sequence[int]
    overwrite: bool
    seconds: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.store = Store(self.out, RUN, self.record.entries(), self.overwrite)
        self.store.check()
        self.todo = [i for i in self.chosen if not self.store.has(image_name(i))]

    def timed(self, batches: Iterable[T]) -> Iterator[T]:
        """The same batches; the time that each takes to be made is counted."""
        begun = time.monotonic()
        for batch in batches:
            self.seconds += time.monotonic() - begun
            yield batch
            begun = time.monotonic()

    def keep(self, samples: Iterable[int], images: Tensor) -> None:
        """Write the images (n, C, H, W), uint8, of these samples."""
        self.store.claim()
        for i, image in zip(samples, images, strict=True):
            self.store.write(image_name(i), png_bytes(image))

    def finish(self, most: int, channels: int = 3) -> float:
        """Write the sheet, of at most ``most`` images, and the record; the seconds of sampling."""
        self.store.claim()
        write_sheet(self.out, channels, most)
        seconds = round(self.seconds, 3)
        self.store.update(replace(self.record, seconds=seconds).entries())
        return seconds

    @property
    def summary(self) -> str:
        """How many images were made, and how many were there."""
        there = len(self.chosen) - len(self.todo)
        made = counted(len(self.todo), "image")
        return f"{made} ({there} {'was' if there == 1 else 'were'} there)" if there else made


def together(chosen: Sequence[int], out: Path, overwrite: bool) -> tuple[int, ...]:
    """The samples of a run that is continued: those asked for and those that are there."""
    return tuple(sorted({*chosen, *([] if overwrite else present(out))}))
