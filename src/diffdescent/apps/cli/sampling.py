"""``diffdescent sample``: images from a model, as PNG files, a sheet and a record."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diffdescent.base.errors import UserError, unknown
from diffdescent.base.words import counted

from .options import GuidanceScale, Height, Width
from .progress import Bar

if TYPE_CHECKING:
    from torch import Tensor

    from diffdescent.run import Run


def parse_samples(text: str) -> list[int]:
    """``"0-3,8"`` → [0, 1, 2, 3, 8], each once. Raises :class:`UserError` for anything else."""
    from diffdescent.run.sample_numbers import numbers

    return sorted(set(numbers(text)))


def sample(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(help="A bundled name, a diffusers checkpoint folder, or images:PATH.")
    ],
    sampler: Annotated[
        str | None,
        typer.Option(
            help='A recipe, e.g. "ge(gamma=2) | momentum(-0.3)"; default: one fitted to the model,'
            " where it is bundled, else ge or unipc."
        ),
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            help="Steps of the grid; one costs one evaluation, of heun two (elsewhere --nfe counts"
            " evaluations)."
        ),
    ] = 20,
    grid: Annotated[
        str | None, typer.Option(help="A grid, e.g. loglinear; default: the recipe's usual one.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="A published row's settings, e.g. ge-cifar10; other options win."),
    ] = None,
    classifier: Annotated[
        str | None, typer.Option(help="The folder of the classifier that a --preset guides with.")
    ] = None,
    gamma: Annotated[
        str | None,
        typer.Option(help="Γ of --sampler analytic: estimate measures it on the model, or a file."),
    ] = None,
    n: Annotated[
        int | None, typer.Option(help="How many images (16; with --prompts one for each prompt).")
    ] = None,
    samples: Annotated[
        str | None, typer.Option(help="Exactly these samples, e.g. 0-63 (in place of --n).")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Seed; image i of a seed is the same in any batch.")
    ] = 0,
    label: Annotated[
        str | None, typer.Option(help="Class name or number; a list is repeated over the samples.")
    ] = None,
    guidance: Annotated[
        str | None,
        typer.Option(
            help='Towards --label, e.g. "classifier(scale=2) | pxp"; with --prompt "cfg | pxp".'
        ),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="Text to image: what a diffusers pipeline folder draws.")
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="One image for each prompt of a text file (one a line) or COCO captions."
        ),
    ] = None,
    negative_prompt: Annotated[
        str | None, typer.Option(help="What --prompt shall not draw.")
    ] = None,
    guidance_scale: GuidanceScale = None,
    width: Width = None,
    height: Height = None,
    batch_size: Annotated[
        int,
        typer.Option(
            help="Samples in memory at a time; changes no image, but with pxp(scope=batch)."
        ),
    ] = 64,
    micro_batch: Annotated[
        int | None, typer.Option(help="Samples that the network sees at once.")
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Start from these images (file, folder, zip or npz).")
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="How much noise --init gets, in (0, 1]; default 0.6, with a mask 1."),
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Image: white where --init is kept.")] = None,
    noise: Annotated[str, typer.Option(help="independent or brownian.")] = "independent",
    device: Annotated[str, typer.Option(help="cpu, cuda, mps.")] = "cpu",
    threads: Annotated[
        int | None, typer.Option(help="Threads of the CPU; part of what makes an image the same.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the images.")] = Path("samples"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")
    ] = False,
    trajectory: Annotated[
        bool, typer.Option("--trajectory", help="Also write trajectory.png, x0 over the steps.")
    ] = False,
    preview: Annotated[
        bool,
        typer.Option(
            "--preview", help="Show x0 while it becomes clearer, and write it to preview.png."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress bar, no summary.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON on standard output.")
    ] = False,
) -> None:
    """Sample images: PNG files, a sheet, and run.json with everything needed to repeat the run.

    An interrupted run is continued by the same command: only the missing images are made.
    """
    from diffdescent.apps.textimage import wants_prompt
    from diffdescent.base.device import use_threads
    from diffdescent.base.images import save_png, to_uint8
    from diffdescent.guidance import parse_guidance
    from diffdescent.models import load_model
    from diffdescent.run import NOISES, draw, make_recipe, prepare
    from diffdescent.run.fitted_for import warn_of_steps
    from diffdescent.run.folder import PREVIEW, SHEET, SHEET_LIMIT, recorded_width
    from diffdescent.run.image_files import read_init, read_mask
    from diffdescent.run.preparing import STEPS

    from . import output, presetting, prompting
    from .gamma_option import with_gamma

    started = time.monotonic()
    if batch_size < 1 or (micro_batch is not None and micro_batch < 1):
        raise UserError("--batch-size and --micro-batch must be at least 1.")
    if noise not in NOISES:
        raise unknown("noise", noise, NOISES)
    if mask is not None and init is None:
        raise UserError("--mask needs --init, the image whose region is kept.")
    if prompt is not None or prompts is not None:
        meaningless = {
            "--label": label,
            "--init": init,
            "--mask": mask,
            "--strength": strength,
            "--preview": preview,
            "--gamma": gamma,
            "--preset": preset,
            "--classifier": classifier,
        }
        for option, value in {**meaningless, "--noise": noise != "independent"}.items():
            if value:
                raise UserError(f"{option} has no meaning for a prompt; leave it out.")
        prompting.run(
            prompting.Request(
                model=model,
                prompt=prompt,
                prompts=prompts,
                negative_prompt=negative_prompt,
                guidance_scale=guidance_scale,
                guidance=guidance,
                width=width,
                height=height,
                sampler=sampler,
                steps=steps,
                grid=grid,
                n=n,
                chosen=parse_samples(samples) if samples else None,
                seed=seed,
                micro_batch=micro_batch,
                device=device,
                out=out,
                overwrite=overwrite,
                quiet=quiet,
                as_json=as_json,
                trajectory=trajectory,
            )
        )
        return
    for option, asked in (
        ("--negative-prompt", negative_prompt),
        ("--guidance-scale", guidance_scale),
        ("--width", width),
        ("--height", height),
    ):
        if asked is not None:
            raise UserError(f"{option} belongs to a prompt; give --prompt or --prompts too.")
    if wants_prompt(Path(model)):
        raise UserError(
            f"{model!r} is a text-to-image pipeline; say what to draw with --prompt, or --prompts"
            " FILE."
        )
    if strength is not None and init is None:
        raise UserError("--strength needs --init, the images that get so much noise.")
    if threads is not None:
        use_threads(threads)
    chosen = parse_samples(samples) if samples else list(range(16 if n is None else n))
    if not chosen:
        raise UserError("There is no sample to draw; give --n of at least 1.")
    net = load_model(model, device)
    if preset is not None:
        given = presetting.Settings(sampler, grid, steps, guidance, label)
        settings = presetting.filled(given, ctx, preset, classifier, net)
        sampler, grid, steps = settings.sampler, settings.grid, settings.steps
        guidance, label = settings.guidance, settings.label
    elif classifier is not None:
        raise UserError("--classifier belongs to a --preset; or name it in --guidance.")
    if gamma is not None:
        sampler = with_gamma(sampler, gamma, net, out, seed, quiet or as_json)
    starting = read_init(init, net.shape[0] if net.shape else 3) if init else None
    if starting is not None and net.shape and tuple(starting.shape[1:]) != tuple(net.shape):
        raise UserError(
            f"--init has images of shape {tuple(starting.shape[1:])}, the model's are"
            f" {tuple(net.shape)}."
        )
    tied = make_recipe(sampler, steps).whole_batch or (
        guidance is not None and parse_guidance(guidance).whole_batch
    )
    run = prepare(
        net,
        sampler,
        guidance=guidance,
        steps=steps,
        grid=grid,
        samples=chosen if tied else output.together(chosen, out, overwrite),
        seed=seed,
        labels=label,
        init=starting,
        by="sample",
        strength=(1.0 if mask or not init else 0.6) if strength is None else strength,
        mask=read_mask(mask) if mask else None,
        noise=noise,
        batch_size=batch_size,
        micro_batch=micro_batch or (None if overwrite else recorded_width(out)),
        device=device,
        name=model,
        paths=(str(init) if init else None, str(mask) if mask else None),
    )
    if steps == STEPS and presetting.named(ctx, "steps"):
        warn_of_steps(run.recipe, steps)  # other numbers were looked at by prepare
    record = run.record(sys.argv[1:])
    kept = output.Output(out, record, chosen, overwrite)
    place = {number: p for p, number in enumerate(run.samples)}
    todo = [p for batch in run.batches([place[i] for i in kept.todo]) for p in batch]
    kept.todo = [run.samples[p] for p in todo]
    there = len(chosen) - len(todo)
    loading = time.monotonic() - started
    watched = out / PREVIEW if preview else None
    if watched is not None:
        kept.store.claim()
    with Bar(len(chosen), done=there, hidden=quiet or as_json, preview=watched) as bar:
        for batch in kept.timed(draw(run, todo, callback=bar.step)):
            kept.keep(batch.samples, to_uint8(batch.images))
            bar.finished(len(batch.samples))
    if trajectory:
        kept.store.claim()
        save_png(_strip(run, [place[i] for i in chosen]), out / "trajectory.png")
    seconds = kept.finish(SHEET_LIMIT, run.shape[0])
    if as_json:
        summary = {
            "out": str(out),
            "images": len(chosen),
            "made": len(todo),
            "nfe": record.nfe,
            "seconds": seconds,
            "loading": round(loading, 3),
        }
        typer.echo(json.dumps(summary))
    elif not quiet:
        if run.reason is not None:
            typer.echo(f"Sampler: {run.reason}.", err=True)
        for note in run.grid.notes:
            typer.echo(f"Note: {note}.", err=True)
        under = "" if record.guidance is None else f" under {record.guidance}"
        calls = record.network_calls
        more = "" if calls == record.nfe else f" ({counted(calls or 0, 'call')} of the network)"
        typer.echo(
            f"{kept.summary} with {record.recipe}{under} on {grid or run.grid.name},"
            f" {counted(record.nfe or 0, 'evaluation')}{more} each, {seconds:.1f} s"
            f" (and {loading:.1f} s to load): {out / SHEET}"
        )


def _strip(run: Run, places: Sequence[int]) -> Tensor:
    """x0 over the steps of the first samples; they are the same whatever the batches were, but
    where the recipe looks at whole ones."""
    import torch

    from diffdescent.base.images import strip
    from diffdescent.run import draw
    from diffdescent.run.result import STRIP_ROWS

    first = run.batches()[0] if run.recipe.whole_batch else places[:STRIP_ROWS]
    paths = [b.trajectory for b in draw(run, first, trajectory=True) if b.trajectory is not None]
    return strip(torch.cat(paths, dim=1)[:, :STRIP_ROWS])
