"""Progress bars of commands, on standard error."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from diffdescent.base.bars import Bars, Meter, progress

if TYPE_CHECKING:
    from diffdescent.run import Progress as Step
    from diffdescent.run.preview import Preview

__all__ = ["Bar", "Meter", "progress"]


class Bar(Meter):
    """A progress bar in images, moved by every evaluation, with the rate at which they are made.

    With ``preview``, a file, the estimates of the images are written there as they become clearer,
    and shown below the bar.
    """

    def __init__(self, total: int, done: int, hidden: bool, preview: Path | None = None) -> None:
        super().__init__("sampling", "images", total=total, done=done, hidden=hidden, rate=True)
        self.done, self.made, self.begun = done, 0, time.monotonic()
        self.preview = None if preview is None else _preview(self.progress, preview)

    def step(self, at: Step) -> None:
        """After one evaluation of a batch: its share of the batch's images."""
        self.part(len(at.samples) * (at.index + 1) / at.nfe)
        if self.preview is not None:
            self.preview.step(at)

    def part(self, part: float) -> None:
        """``part`` images' worth of the current batch is done."""
        self._show(part)

    def finished(self, count: int) -> None:
        """After a batch was written."""
        self.done, self.made = self.done + count, self.made + count
        self._show(0)

    def _show(self, part: float) -> None:
        rate = (self.made + part) / max(time.monotonic() - self.begun, 1e-9)
        self.progress.update(self.task, completed=self.done + part, rate=f"{rate:.2f} images/s")


def _preview(bars: Bars, out: Path) -> Preview:
    from diffdescent.run.preview import Preview

    return Preview(bars, out)
