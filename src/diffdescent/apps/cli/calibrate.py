"""``diffdescent calibrate``: a sampler of few evaluations fitted to one model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

if TYPE_CHECKING:
    from diffdescent.run.calibrate import Loss

from .options import (
    AnyModel,
    Device,
    GuidanceScale,
    Height,
    Json,
    MicroBatch,
    OverwriteFile,
    Quiet,
    Width,
)


def calibrate(
    model: AnyModel,
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
    nfe: Annotated[
        int,
        typer.Option(
            help="Network evaluations of the sampler, 3 to 12; sample takes as many --steps."
        ),
    ] = 5,
    guidance: Annotated[
        str | None,
        typer.Option(
            help='Guidance in the estimate: "cfg(scale=4)", or a range, "cfg(scale=1..6)".'
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="Text to image: a file of prompts, for a diffusers pipeline folder."),
    ] = None,
    guidance_scale: GuidanceScale = None,
    width: Width = None,
    height: Height = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Labels in turn, or none; default: all classes of the model."),
    ] = None,
    trajectories: Annotated[
        int, typer.Option(help="Noises that are fitted to; at least 8, and 2 for each evaluation.")
    ] = 40,
    held_out: Annotated[
        int, typer.Option(help="Other noises that it is judged on; at least 8.")
    ] = 32,
    teacher: Annotated[
        int,
        typer.Option(help="Evaluations of the exact solution; at least 4 for each of --nfe."),
    ] = 64,
    bands: Annotated[int, typer.Option(help="Knots over the spatial frequency; 1: none.")] = 8,
    end_to_end: Annotated[
        int | None,
        typer.Option(help="Rounds that fit all together; default: 5, 4, 2, 2 at 3 to 6, then 0."),
    ] = None,
    plain_start: Annotated[
        bool, typer.Option("--plain-start", help="Leave the start's noise alone, for diffusers.")
    ] = False,
    axes: Annotated[
        str, typer.Option(help="Channel axes: usual, opponent, principal or identity.")
    ] = "usual",
    loss: Annotated[
        str,
        typer.Option(
            help="What is made small: distance, squared or huber, in pixels; or the distance in the"
            " features of an extractor, e.g. cifar10-features."
        ),
    ] = "distance",
    prior: Annotated[
        str, typer.Option(help="What coefficients are drawn to: equal, gaussian or fixed.")
    ] = "equal",
    consistent: Annotated[
        bool, typer.Option("--consistent", help="Rows that are exact for a constant estimate.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the noises.")] = 0,
    micro_batch: MicroBatch = None,
    device: Device = "cpu",
    overwrite: OverwriteFile = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit a sampler to a model, from its own trajectories and without any gradient of it.

    What it learns is written as a small JSON file; sample with --sampler "calibrated('FILE')". It
    is kept only where it is measurably nearer to the model's own solution on held-out noises than
    the best fixed sampler; else the file holds that one. Stop it at any moment and give the same
    command again: the trajectories are kept next to the file until it is written.

    A text-to-image pipeline is asked with the prompts in turn, under its own guidance; its sampler
    leaves the start's noise alone, as --plain-start does.
    """
    from diffdescent.base.errors import UserError
    from diffdescent.run.calibrate import calibrate as run
    from diffdescent.run.calibrate import check_counts

    from .progress import Meter
    from .results import check_new

    check_new(out, overwrite, ending=".json")
    check_counts(nfe, trajectories, held_out, teacher)
    from diffdescent.apps.comparing import loaded
    from diffdescent.apps.prompts import read_prompts
    from diffdescent.run.calibrate.calibration import ChannelAxes
    from diffdescent.run.calibrate.shape import Prior

    texts = None if prompts is None else read_prompts(prompts)
    asked = {"guidance_scale": guidance_scale, "height": height, "width": width}
    if texts is not None and guidance is not None:
        raise UserError("A pipeline has its own guidance; give --guidance-scale, not --guidance.")
    net, _ = loaded(model, texts, "none", device, asked)
    aim = _loss(loss, device)
    drawn_to, along = _one_of(Prior, "prior", prior), _one_of(ChannelAxes, "channel axes", axes)
    parts = out.with_name(f".{out.stem}.parts")
    with Meter("calibrating", "evaluations", hidden=quiet or as_json) as meter:

        def note(line: str) -> None:
            if not (quiet or as_json):
                meter.progress.console.print(line, highlight=False)

        found = run(
            net,
            nfe=nfe,
            guidance=guidance,
            labels=labels,
            seed=seed,
            trajectories_count=trajectories,
            held_out=held_out,
            teacher_levels=teacher,
            bands=bands,
            axes=along,
            loss=aim,
            prior=drawn_to,
            consistent=consistent,
            end_to_end=end_to_end,
            plain_start=plain_start or texts is not None,
            micro_batch=micro_batch,
            device=device,
            folder=parts,
            name=out.stem,
            note=note,
            progress=meter.to,
        )
    found.write(out)
    shutil.rmtree(parts, ignore_errors=True)
    if as_json:
        report = {"out": str(out), "evaluations": found.evaluations, **found.solver.report}
        typer.echo(json.dumps(report))
    else:
        typer.echo(found.summary)
        typer.echo(f"Wrote {out}; sample with --sampler \"calibrated('{out}')\".")


def _loss(name: str, device: str) -> Loss:
    """The loss by its kind, or the distance in the features of an extractor."""
    from diffdescent.base.errors import unknown
    from diffdescent.evaluate.extractors import BUNDLED, load_extractor
    from diffdescent.run.calibrate.loss import Kind, Loss, loss_of

    if name == BUNDLED or name.startswith("inception:"):
        return Loss(features=load_extractor(name, device=device).of_floats, name=name)
    if name not in get_args(Kind):
        raise unknown("loss", name, (*get_args(Kind), BUNDLED, "inception:FILE"))
    return loss_of(name)


def _one_of(words: Any, what: str, name: str) -> Any:
    """``name``, which must be one of the words of a ``Literal``."""
    from diffdescent.base.errors import unknown

    if name not in get_args(words):
        raise unknown(what, name, get_args(words))
    return name
