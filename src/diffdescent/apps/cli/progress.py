"""Progress bars on standard error: one look for every command."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from .terminal import console as plain_console

if TYPE_CHECKING:
    from diffdescent.run import Progress as Step

M = TypeVar("M", bound="Meter")


class _Count(ProgressColumn):
    """How many of how many, in the bar's unit; a number that is not known yet is a question
    mark."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        total = "?" if task.total is None else f"{task.total:.0f}"
        return Text(f"{task.completed:.0f}/{total} {self.unit}".rstrip())


def progress(
    unit: str = "", *, hidden: bool, rate: bool = False, transient: bool = False
) -> Progress:
    """Progress bars that count in ``unit``: label, bar, count, rate, time passed, time left.

    ``rate`` shows each task's field ``rate``; ``transient`` bars vanish at the end; ``hidden`` ones
    are never shown.
    """
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        _Count(unit),
        *([TextColumn("{task.fields[rate]}", markup=False)] if rate else []),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    console = plain_console(stderr=True)
    return Progress(*columns, console=console, disable=hidden, transient=transient)


class Meter:
    """One progress bar, shown while the ``with`` block runs."""

    def __init__(
        self,
        label: str,
        unit: str = "",
        *,
        total: int | None = None,
        done: int = 0,
        hidden: bool = False,
        rate: bool = False,
    ) -> None:
        self.progress = progress(unit, hidden=hidden, rate=rate)
        self.task = self.progress.add_task(label, total=total, completed=done, rate="")

    def __enter__(self: M) -> M:
        self.progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.__exit__(*error)

    def to(self, done: float, total: float | None = None, label: str | None = None) -> None:
        """``done`` of ``total`` are done; what is None stays as it was."""
        self.progress.update(self.task, completed=done, total=total, description=label)

    def advance(self, count: float) -> None:
        """``count`` more are done."""
        self.progress.advance(self.task, count)

    def evaluation(self, at: Step) -> None:
        """After one evaluation of a run: counts the evaluations of all its batches."""
        self.to(at.batch * at.nfe + at.index + 1, at.nfe * at.batches)


class Bar(Meter):
    """A progress bar in images, moved by every evaluation, with the rate at which they are made."""

    def __init__(self, total: int, done: int, hidden: bool) -> None:
        super().__init__("sampling", "images", total=total, done=done, hidden=hidden, rate=True)
        self.done, self.made, self.begun = done, 0, time.monotonic()

    def step(self, at: Step) -> None:
        """After one evaluation of a batch: its share of the batch's images."""
        self.part(len(at.samples) * (at.index + 1) / at.nfe)

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
