"""``diffdescent evaluate``: how good are these images? Distances to a reference, with intervals."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.image_sets import stream_images
from diffdescent.evaluate import (
    METRICS,
    RESIZES,
    Extractor,
    Features,
    Reference,
    Score,
    load_extractor,
    make_reference,
    metric_name,
    read_reference,
    score,
    summarise,
    write_statistics,
)
from diffdescent.evaluate.half_sampling import check_resamples
from diffdescent.evaluate.reference import statistics_path


def evaluate(
    images: Annotated[
        Path, typer.Argument(help="A folder, zip or npz of images, from anywhere.", metavar="DIR")
    ],
    reference: Annotated[
        Path | None,
        typer.Option(help="Images to compare with, or saved statistics (.npz with mu and sigma)."),
    ] = None,
    features: Annotated[
        str, typer.Option(help="cifar10-features, or inception:FILE with the FID weights.")
    ] = "cifar10-features",
    metrics: Annotated[
        str | None,
        typer.Option(help=f"A list of {', '.join(METRICS)}; default: all that are possible."),
    ] = None,
    n: Annotated[
        int | None,
        typer.Option(help="Judge a random choice of so many images, to compare at equal numbers."),
    ] = None,
    resize: Annotated[
        str, typer.Option(help=f"How images are resized: {' or '.join(RESIZES)}.")
    ] = "clean",
    device: Annotated[str, typer.Option(help="Where the network runs: cpu, cuda, mps.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of the intervals and of --n.")] = 0,
    resamples: Annotated[
        int, typer.Option(help="Random halves behind each interval; 0: no intervals.")
    ] = 200,
    save_statistics: Annotated[
        Path | None,
        typer.Option(
            help="Also save the mean and covariance of DIR to this .npz, to be a --reference."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Score images against a reference: Fréchet distances, Inception Score, precision, recall,
    kernel distance.

    Each value comes with a 95 % interval and with the protocol that it depends on.
    """
    if reference is None and metrics is None and save_statistics is None:
        raise UserError(
            "There is nothing to compare with; give --reference (or --metrics is, which needs"
            " none)."
        )
    check_resamples(resamples)
    names = None if metrics is None else [metric_name(name) for name in metrics.split(",")]
    for name in names or ():
        if reference is None and METRICS[name].against is not None:
            raise UserError(
                f"{METRICS[name].title} compares with other images; give them as --reference."
            )
    if save_statistics is not None:
        statistics_path(save_statistics)
    extractor = load_extractor(features, resize=resize, device=device)
    with _Bars(hidden=quiet or as_json) as bars:
        against = None
        if reference is not None:
            singly = names is None or any(METRICS[name].against == "pool" for name in names)
            watched = bars.watch(extractor, "reference")
            against = read_reference(reference, watched, keep=singly, progress=watched.size)
        watched = bars.watch(extractor, "images")
        scored = reference is not None or names is not None
        looked_at = {METRICS[name].needs for name in names or METRICS}
        # Fréchet distances without intervals need no single image: memory then depends on the
        # features alone.
        keep = n is not None or (scored and (resamples > 0 or bool(looked_at & {"pool", "probs"})))
        found = summarise(
            stream_images(images, progress=watched.size), watched, name=str(images), keep=keep
        )
        if n is not None:
            found = _some(found, n, seed)
        if save_statistics is not None:
            write_statistics(save_statistics, found)
        scores = (
            score(found, against, names, seed=seed, resamples=resamples, progress=bars.metric)
            if scored
            else []
        )
    if as_json:
        told = [
            {name: value for name, value in asdict(s).items() if name != "draws"} for s in scores
        ]
        typer.echo(json.dumps({"images": str(images), "scores": told}, indent=2))
    elif scores:
        _print(scores, images, reference, extractor)
    if save_statistics is not None:
        typer.echo(f"Wrote {save_statistics}: the statistics of {found.count} images.", err=True)


def _some(images: Reference, n: int, seed: int) -> Reference:
    """The statistics of ``n`` random ones of the images."""
    assert images.features is not None
    count = len(images.features)
    if not 2 <= n <= count:
        raise UserError(f"--n must lie between 2 and the {count} images that there are, not {n}.")
    chosen = torch.randperm(count, generator=torch.Generator().manual_seed(seed))[:n].sort().values
    return make_reference(images.features[chosen], images.name)


def _print(scores: list[Score], images: Path, reference: Path | None, extractor: Extractor) -> None:
    console = Console()
    table = Table(
        title=f"{images} · {scores[0].count} images", title_justify="left", show_edge=False
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
        between = (
            "–"
            if found.low is None or found.high is None
            else f"{found.low:.4g} … {found.high:.4g}"
        )
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
    for note in dict.fromkeys(note for found in scores for note in found.notes):
        typer.echo(f"Note: {note}.", err=True)


class _Bars:
    """Progress bars: one for the reference, one for the images, one for each metric."""

    def __init__(self, hidden: bool) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self.progress = Progress(
            *columns, console=Console(stderr=True), disable=hidden, transient=True
        )
        self.tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bars:
        self.progress.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.progress.__exit__(*error)

    def watch(self, extractor: Extractor, name: str) -> _Watched:
        return _Watched(extractor, self.progress, self.progress.add_task(name, total=0))

    def metric(self, name: str, done: int, total: int) -> None:
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(METRICS[name].title, total=total)
        self.progress.update(self.tasks[name], completed=done, total=total)


class _Watched:
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
