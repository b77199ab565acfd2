"""What ``compare`` and ``study`` share: run with a progress bar, then show the table and where the
report is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from diffdescent.base.errors import UserError
from diffdescent.base.words import counted

from .options import Json, Quiet
from .progress import Meter
from .terminal import console as plain_console

if TYPE_CHECKING:
    from diffdescent.core.predict import Predictor
    from diffdescent.lab.study import Results, Study, StudyConfig
    from diffdescent.lab.study.gather import StudyReference
    from diffdescent.lab.study.shards import Task

    Described: TypeAlias = "tuple[StudyConfig, Path] | tuple[StudyConfig, Path, Loaded]"


SHOWN = 8
"""Samplers of each budget that the terminal shows where a sentence says which to take."""


@dataclass(frozen=True)
class How:
    """Where and how a study runs, none of which changes a number: options of each command that runs
    one."""

    ray: Annotated[
        bool, typer.Option("--ray", help="Run on Ray: all processors of this machine.")
    ] = False
    address: Annotated[str | None, typer.Option(help="Run on the Ray cluster at this address.")] = (
        None
    )
    workers: Annotated[int | None, typer.Option(help="With --ray: how many processors.", min=1)] = (
        None
    )
    shard: Annotated[
        str | None, typer.Option(help="Run share i of n (i/n, from 1), for job arrays.")
    ] = None
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Run nothing: report what is finished.")
    ] = False
    quiet: Quiet = False
    as_json: Json = False

    @property
    def on_ray(self) -> bool:
        """Whether Ray runs the study."""
        return self.ray or self.address is not None

    @property
    def silent(self) -> bool:
        """Whether no progress is shown."""
        return self.quiet or self.as_json

    def check(self) -> None:
        """Raise :class:`UserError` for options that contradict each other."""
        if self.address is not None and not self.address.strip():
            raise UserError("--address is empty; give the address of a Ray cluster, such as auto.")
        if self.report_only and (self.on_ray or self.shard):
            raise UserError(
                "--report-only runs nothing, so --ray, --address and --shard mean nothing to it."
            )
        if self.on_ray and self.shard:
            raise UserError(
                "--shard is for job arrays, each process by itself; with --ray leave it out."
            )
        if self.workers is not None and not self.on_ray:
            raise UserError("--workers says how many processors Ray takes; add --ray.")


@dataclass(frozen=True)
class Loaded:
    """A study's model that is loaded already, and whether its name leads to it too."""

    model: Predictor
    named: bool


def running(described: Callable[..., Described]) -> Callable[..., None]:
    """The command that runs the study and folder that ``described`` makes of its options, with
    those of How added to them; the model too, where it has loaded it."""

    @wraps(described)
    def command(**given: Any) -> None:
        how = How(**{field.name: given.pop(field.name) for field in fields(How)})
        config, out, *model = described(**given)
        launch(config, out, how, *model)

    # What Typer reads. The class of studies is known to type checkers alone: importing it takes
    # time.
    own = signature(described, eval_str=True, locals={"Described": Any}).parameters
    parameters = [*own.values(), *signature(How, eval_str=True).parameters.values()]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def launch(config: StudyConfig, out: Path, how: How, model: Loaded | None = None) -> Results | None:
    """Run a study and show what it found; None for one share of a job array.

    Raises :class:`UserError` for options that contradict each other and for bad input.
    """
    from diffdescent.lab.study import gather, missing, prepare, share
    from diffdescent.lab.study.report import write

    how.check()
    given = (None, True) if model is None else (model.model, model.named)
    study = prepare(config, out, given[0], named=given[1])
    for left in study.left_out:
        _say(
            how,
            f"Left out: {left.sampler} on {left.grid} with a budget of {left.asked}:"
            f" {left.reason.rstrip('.')}.",
        )
    tasks = share(study.tasks, how.shard) if how.shard else study.tasks
    reference = None if how.report_only else _compute(study, tasks, how)
    if how.shard:
        left_over = len(missing(study.tasks, out))
        state = (
            "run the same command without --shard for the report"
            if not left_over
            else f"{left_over} are missing"
        )
        typer.echo(
            f"Share {how.shard} is done: {len(tasks)} of {len(study.tasks)} shards; {state}."
        )
        return None
    with Meter("scoring", "cells", total=len(study.cells), hidden=how.silent) as bar:
        results = gather(study, bar.to, reference)
    path = write(results)
    show(results, path, how)
    return results


def _compute(study: Study, tasks: list[Task], how: How) -> StudyReference | None:
    """Run those of ``tasks`` that are missing; the reference, where it was read."""
    from diffdescent.lab.study import missing, ray_runner, read_reference, run

    config, todo, reference = study.config, missing(tasks, study.out), None
    if todo and not how.shard and study.worker.needs.reference:
        # A mistake in it shows before the samples are made. The shares of a job array leave it to
        # the report.
        _say(how, f"Reading the reference {config.reference} …")
        reference = read_reference(study)
    there = os.cpu_count() or 1
    alone = not (how.on_ray or how.shard)
    begins = len(todo) == len(tasks)  # one that goes on keeps its number of threads
    if begins and alone and config.device == "cpu" and config.threads < there:
        _say(
            how,
            f"Computing with {counted(config.threads, 'thread')} on {there} processors; faster"
            f" is compare --threads {there}, study --set threads={there}, or --ray.",
        )
    total, open_ = (sum(len(task.samples) for task in some) for some in (tasks, todo))
    with Meter("sampling", "images", total=total, done=total - open_, hidden=how.silent) as bar:

        def shard(task: Task) -> None:
            bar.advance(len(task.samples))

        if how.on_ray:
            ray_runner.run(study, todo, shard, address=how.address, workers=how.workers)
        else:
            run(study, todo, shard)
    return reference


def show(results: Results, path: Path, how: How) -> None:
    """The ranked table on the terminal, where the report is, and what to take."""
    from diffdescent.lab.study import as_json, recommendations, terminal
    from diffdescent.lab.study.report import notes

    if how.as_json:
        typer.echo(json.dumps(as_json(results)))
        return
    advice = recommendations(results)
    plain_console().print(terminal(results, SHOWN if advice else None))
    for note in notes(results):
        typer.echo(f"Note: {note}", err=True)
    typer.echo(f"Table: {results.study.out / 'table.csv'}")
    typer.echo(f"Report: {path}")
    for one in advice:
        typer.echo(f"\n{one.sentence}")
        for place, line in one.lines:
            typer.echo(f"  {place + ':':13} {line}")


def _say(how: How, text: str) -> None:
    if not how.quiet:
        typer.echo(text, err=True)
