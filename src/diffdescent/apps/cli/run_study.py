"""What ``compare`` and ``study`` share: run with a progress bar, then show the table and where the
report is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from inspect import Signature, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffdescent.base.errors import UserError

from .options import Quiet
from .progress import Meter
from .terminal import console as plain_console

if TYPE_CHECKING:
    from diffdescent.lab.study import Results, StudyConfig
    from diffdescent.lab.study.shards import Task


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


def running(described: Callable[..., tuple[StudyConfig, Path]]) -> Callable[..., None]:
    """The command that runs the study and folder that ``described`` makes of its options, with
    those of How added to them."""

    @wraps(described)
    def command(**given: Any) -> None:
        how = How(**{field.name: given.pop(field.name) for field in fields(How)})
        launch(*described(**given), how)

    # What Typer reads. The class of studies is known to type checkers alone: importing it takes
    # time.
    own = signature(described, eval_str=True, locals={"StudyConfig": Any}).parameters
    parameters = [*own.values(), *signature(How, eval_str=True).parameters.values()]
    command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return command


def launch(config: StudyConfig, out: Path, how: How) -> Results | None:
    """Run a study and show what it found; None for one share of a job array.

    Raises :class:`UserError` for options that contradict each other and for bad input.
    """
    from diffdescent.lab.study import gather, missing, prepare, read_reference, run, share
    from diffdescent.lab.study.report import write

    use_ray = how.ray or how.address is not None
    if how.report_only and (use_ray or how.shard):
        raise UserError(
            "--report-only runs nothing, so --ray, --address and --shard mean nothing to it."
        )
    if use_ray and how.shard:
        raise UserError(
            "--shard is for job arrays, each process by itself; with --ray leave it out."
        )
    if how.workers is not None and not use_ray:
        raise UserError("--workers says how many processors Ray takes; add --ray.")
    study = prepare(config, out)
    for left in study.left_out:
        _say(
            how,
            f"Left out: {left.sampler} on {left.grid} with a budget of {left.asked}:"
            f" {left.reason.rstrip('.')}.",
        )
    tasks = share(study.tasks, how.shard) if how.shard else study.tasks
    todo = missing(tasks, out)
    reference = None
    if not how.report_only:
        if todo and not how.shard and study.worker.needs.reference:
            # A mistake in it shows before the samples are made. The shares of a job array leave it
            # to the report.
            _say(how, f"Reading the reference {config.reference} …")
            reference = read_reference(study)
        total, open_ = (sum(len(task.samples) for task in some) for some in (tasks, todo))
        with Meter("sampling", "images", total=total, done=total - open_, hidden=how.quiet) as bar:

            def shard(task: Task) -> None:
                bar.advance(len(task.samples))

            if use_ray:
                from diffdescent.lab.study import ray_runner

                ray_runner.run(study, todo, shard, address=how.address, workers=how.workers)
            else:
                run(study, todo, shard)
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
    with Meter("scoring", "cells", total=len(study.cells), hidden=how.quiet) as bar:
        results = gather(study, bar.to, reference)
    path = write(results)
    show(results, path)
    return results


def show(results: Results, path: Path) -> None:
    """The ranked table on the terminal, and where the report is."""
    from diffdescent.lab.study import terminal
    from diffdescent.lab.study.report import notes

    console = plain_console()
    # In a file or a pipe a line may be as long as it needs to be.
    (console if console.is_terminal else plain_console(width=200)).print(terminal(results))
    for note in notes(results):
        typer.echo(f"Note: {note}", err=True)
    typer.echo(f"Table: {results.study.out / 'table.csv'}")
    typer.echo(f"Report: {path}")


def _say(how: How, text: str) -> None:
    if not how.quiet:
        typer.echo(text, err=True)
