"""The progress bar of the commands that make images."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from diffdescent.run import Progress as Step


class Bar:
    """A progress bar in images, moved by every evaluation, with rate and time left."""

    def __init__(self, total: int, done: int, hidden: bool) -> None:
        columns = (
            TextColumn("sampling"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} images"),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
        )
        self.progress = Progress(*columns, console=Console(stderr=True), disable=hidden)
        self.task = self.progress.add_task("sampling", total=total, completed=done, rate="")
        self.done, self.made, self.begun = done, 0, time.monotonic()

    def __enter__(self) -> Bar:
        self.progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.__exit__(*error)

    def step(self, at: Step) -> None:
        """After one evaluation of a batch: its share of the batch's images."""
        self.part(len(at.samples) * (at.index + 1) / at.nfe)

    def part(self, part: float) -> None:
        """So much of the current batch is done, in images."""
        self.progress.update(
            self.task, completed=self.done + part, rate=self._rate(self.made + part)
        )

    def finished(self, count: int) -> None:
        """After a batch has been written."""
        self.done, self.made = self.done + count, self.made + count
        self.progress.update(self.task, completed=self.done, rate=self._rate(self.made))

    def _rate(self, images: float) -> str:
        return f"{images / max(time.monotonic() - self.begun, 1e-9):.2f} images/s"
