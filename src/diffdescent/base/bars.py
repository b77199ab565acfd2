"""Progress bars on standard error: one look for every command and for :func:`diffdescent.sample`.
Needs Rich (extra ``cli``)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from rich.console import Console, RenderableType
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


class _Left(TimeRemainingColumn):
    """The time left, where it can be estimated."""

    def render(self, task: Task) -> Text:
        return super().render(task).append(" left") if task.time_remaining else Text()


class Bars(Progress):
    """Bars, with a picture below them while there is one."""

    picture: RenderableType | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        if self.picture is not None:
            yield self.picture


def progress(unit: str = "", *, hidden: bool, rate: bool = False, transient: bool = False) -> Bars:
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
        _Left(),
    )
    console = Console(stderr=True, markup=False, emoji=False)
    return Bars(*columns, console=console, disable=hidden, transient=transient)


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
        transient: bool = False,
    ) -> None:
        self.progress = progress(unit, hidden=hidden, rate=rate, transient=transient)
        self.task = self.progress.add_task(label, total=total, completed=done, rate="")

    def __enter__(self: M) -> M:
        self.progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.picture = None
        self.progress.__exit__(*error)

    def to(self, done: float, total: float | None = None, label: str | None = None) -> None:
        """``done`` of ``total`` are done; what is None stays as it was."""
        self.progress.update(self.task, completed=done, total=total, description=label)

    def advance(self, count: float) -> None:
        """``count`` more are done."""
        self.progress.advance(self.task, count)
