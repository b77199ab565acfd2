"""``diffdescent sample MODEL`` without a prompt: from the settings to images, a sheet and a
record."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import typer
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.images import save_png, strip, to_uint8
from diffdescent.base.words import counted
from diffdescent.core.predict import Predictor
from diffdescent.guidance import parse_guidance
from diffdescent.models import load_model
from diffdescent.run import Run, draw, make_recipe, prepare
from diffdescent.run.fitted_for import warn_of_steps
from diffdescent.run.folder import PREVIEW, SHEET, SHEET_LIMIT, recorded_width
from diffdescent.run.image_files import read_init, read_mask
from diffdescent.run.preparing import STEPS
from diffdescent.run.result import STRIP_ROWS

from . import output, presetting
from .gamma_option import with_gamma
from .progress import Bar


@dataclass(frozen=True)
class Request:
    """What the command line asks for. ``chosen`` are the samples, ``steps_named`` says whether the
    steps were given."""

    model: str
    sampler: str | None
    steps: int
    steps_named: bool
    grid: str | None
    preset: str | None
    classifier: str | None
    gamma: str | None
    chosen: Sequence[int]
    seed: int
    labels: str | None
    guidance: str | None
    batch_size: int
    micro_batch: int | None
    init: Path | None
    strength: float | None
    mask: Path | None
    noise: str
    device: str
    out: Path
    overwrite: bool
    trajectory: bool
    preview: bool
    quiet: bool
    as_json: bool


def run(asked: Request) -> None:
    """The samples that are asked for: PNG files, a sheet and ``run.json``.

    An interrupted run is continued by the same command. Raises :class:`UserError` for bad input.
    """
    started = time.monotonic()
    net = load_model(asked.model, asked.device)
    asked = _filled(asked, net)
    made = _prepared(asked, net)
    if asked.steps == STEPS and asked.steps_named:
        warn_of_steps(made.recipe, asked.steps)  # other numbers were looked at by prepare
    kept = output.Output(asked.out, made.record(sys.argv[1:]), asked.chosen, asked.overwrite)
    place = {number: p for p, number in enumerate(made.samples)}
    todo = [p for batch in made.batches([place[i] for i in kept.todo]) for p in batch]
    kept.todo = [made.samples[p] for p in todo]
    loading = time.monotonic() - started
    _draw(asked, made, kept, todo)
    if asked.trajectory:
        kept.store.claim()
        sheet_of_x0 = _strip(made, [place[i] for i in asked.chosen])
        save_png(sheet_of_x0, asked.out / "trajectory.png")
    seconds = kept.finish(SHEET_LIMIT, made.shape[0])
    if asked.as_json:
        _print_json(asked, kept, seconds, loading)
    elif not asked.quiet:
        _print_summary(asked, made, kept, seconds, loading)


def _filled(asked: Request, net: Predictor) -> Request:
    """The request with what its preset and its Γ say."""
    if asked.preset is not None:
        given = presetting.Settings(
            asked.sampler, asked.grid, asked.steps, asked.guidance, asked.labels
        )
        found = presetting.filled(given, asked.steps_named, asked.preset, asked.classifier, net)
        asked = replace(asked, **vars(found))
    elif asked.classifier is not None:
        raise UserError("--classifier belongs to a --preset; or name it in --guidance.")
    if asked.gamma is None:
        return asked
    quiet = asked.quiet or asked.as_json
    sampler = with_gamma(asked.sampler, asked.gamma, net, asked.out, asked.seed, quiet)
    return replace(asked, sampler=sampler)


def _prepared(asked: Request, net: Predictor) -> Run:
    """The run; its samples are those that are asked for and those that are in the folder, but where
    a step looks at its whole batch."""
    init, mask = asked.init, asked.mask
    starting = read_init(init, net.shape[0] if net.shape else 3) if init else None
    if starting is not None and net.shape and tuple(starting.shape[1:]) != tuple(net.shape):
        raise UserError(
            f"--init has images of shape {tuple(starting.shape[1:])}, the model's are"
            f" {tuple(net.shape)}."
        )
    tied = make_recipe(asked.sampler, asked.steps).whole_batch or (
        asked.guidance is not None and parse_guidance(asked.guidance).whole_batch
    )
    samples = asked.chosen if tied else output.together(asked.chosen, asked.out, asked.overwrite)
    usual = 1.0 if mask or not init else 0.6
    width = asked.micro_batch or (None if asked.overwrite else recorded_width(asked.out))
    return prepare(
        net,
        asked.sampler,
        guidance=asked.guidance,
        steps=asked.steps,
        grid=asked.grid,
        samples=samples,
        seed=asked.seed,
        labels=asked.labels,
        init=starting,
        by="sample",
        strength=usual if asked.strength is None else asked.strength,
        mask=read_mask(mask) if mask else None,
        noise=asked.noise,
        batch_size=asked.batch_size,
        micro_batch=width,
        device=asked.device,
        name=asked.model,
        paths=(str(init) if init else None, str(mask) if mask else None),
    )


def _draw(asked: Request, made: Run, kept: output.Output, todo: Sequence[int]) -> None:
    """Make and keep the images at the places ``todo`` of the run."""
    watched = asked.out / PREVIEW if asked.preview else None
    if watched is not None:
        kept.store.claim()
    there, hidden = len(asked.chosen) - len(todo), asked.quiet or asked.as_json
    with Bar(len(asked.chosen), done=there, hidden=hidden, preview=watched) as bar:
        for batch in kept.timed(draw(made, todo, callback=bar.step)):
            kept.keep(batch.samples, to_uint8(batch.images))
            bar.finished(len(batch.samples))


def _strip(made: Run, places: Sequence[int]) -> Tensor:
    """x0 over the steps of the first samples; they are the same whatever the batches were, but
    where the recipe looks at whole ones."""
    first = made.batches()[0] if made.recipe.whole_batch else places[:STRIP_ROWS]
    paths = [b.trajectory for b in draw(made, first, trajectory=True) if b.trajectory is not None]
    return strip(torch.cat(paths, dim=1)[:, :STRIP_ROWS])


def _print_json(asked: Request, kept: output.Output, seconds: float, loading: float) -> None:
    summary = {
        "out": str(asked.out),
        "images": len(asked.chosen),
        "made": len(kept.todo),
        "nfe": kept.record.nfe,
        "seconds": seconds,
        "loading": round(loading, 3),
    }
    typer.echo(json.dumps(summary))


def _print_summary(
    asked: Request, made: Run, kept: output.Output, seconds: float, loading: float
) -> None:
    record = kept.record
    if made.reason is not None:
        typer.echo(f"Sampler: {made.reason}.", err=True)
    for note in made.grid.notes:
        typer.echo(f"Note: {note}.", err=True)
    under = "" if record.guidance is None else f" under {record.guidance}"
    calls = record.network_calls
    more = "" if calls == record.nfe else f" ({counted(calls or 0, 'call')} of the network)"
    typer.echo(
        f"{kept.summary} with {record.recipe}{under} on {asked.grid or made.grid.name},"
        f" {counted(record.nfe or 0, 'evaluation')}{more} each, {seconds:.1f} s"
        f" (and {loading:.1f} s to load): {asked.out / SHEET}"
    )
