"""The steps of ``diffdescent evaluate``: progress bars, a random choice of images, the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import typer
from rich.progress import Progress, TaskID
from rich.table import Table
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.words import counted
from diffdescent.evaluate import METRICS, Extractor, Features, Reference, Score, make_reference

from .progress import progress
from .terminal import console as plain_console


def some_of(images: Reference, n: int, seed: int) -> Reference:
    """The statistics of ``n`` of the images, chosen at random."""
    assert images.features is not None
    count = len(images.features)
    if not 2 <= n <= count:
        raise UserError(f"--n must lie between 2 and the {count} images that there are, not {n}.")
    chosen = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:n].sort().values
    return make_reference(images.features[chosen], images.name)


def print_scores(
    scores: list[Score], images: Path, reference: Path | None, extractor: Extractor
) -> None:
    console = plain_console()
    table = Table(
        title=f"{images} · {counted(scores[0].count, 'image')}",
        title_justify="left",
        show_edge=False,
    )
    for name, justify in (
        ("metric", "left"),
        ("value", "right"),
        ("95 % interval", "right"),
        ("bias", "right"),
    ):
        table.add_column(name, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("better")
    for found in scores:
        metric = METRICS[found.metric]
        between = f"{found.low:.4g} … {found.high:.4g}" if found.known else "–"
        bias = "" if found.bias is None else f"{found.bias:+.2g}"
        table.add_row(
            metric.title,
            f"{found.value:.5g}",
            between,
            bias,
            "higher" if metric.higher else "lower",
        )
    console.print(table)
    protocol = extractor.protocol
    against = next((s.protocol["reference"] for s in scores if "reference" in s.protocol), None)
    how = next((s.protocol["interval"] for s in scores if "interval" in s.protocol), None)
    parts = [
        f"features {protocol['network']} (weights {protocol['weights']}, resize"
        f" {protocol['resize']})"
    ]
    if against is not None:
        parts.append(f"against {reference} ({against['count'] or 'an unknown number of'} images)")
    if how is not None:
        parts.append(f"intervals from {how['resamples']} random halves, seed {how['seed']}")
    typer.echo(f"\nProtocol: {'; '.join(parts)}.")
    if any(found.bias is not None for found in scores):
        typer.echo(
            "Bias: by how much this number of images alone moves the value; compare at equal"
            " numbers."
        )
    for note in dict.fromkeys(str(note) for found in scores for note in found.notes):
        typer.echo(f"Note: {note}.", err=True)


class Bars:
    """Progress bars: one for the reference, one for the images, one for each metric."""

    def __init__(self, hidden: bool) -> None:
        self.progress = progress(hidden=hidden, transient=True)
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self.progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.__exit__(*error)

    def watch(self, extractor: Extractor, name: str) -> Watched:
        return Watched(extractor, self.progress, self.progress.add_task(name, total=0))

    def metric(self, name: str, done: int, total: int) -> None:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(METRICS[name].title, total=total)
        self.progress.update(self.tasks[name], completed=done, total=total)


class Watched:
    """An extractor that moves a bar by every image it has seen."""

    def __init__(self, extractor: Extractor, progress: Progress, task: TaskID) -> None:
        self.extractor, self.progress, self.task = extractor, progress, task
        self.name, self.protocol = extractor.name, extractor.protocol

    def __call__(self, images: Tensor) -> Features:
        found = self.extractor(images)
        self.progress.advance(self.task, len(images))
        return found

    def size(self, read: int, total: int) -> None:
        """How many images there are; called while they are read."""
        self.progress.update(self.task, total=total)
