"""``diffdescent sample``: images from a model, as PNG files, a sheet and a record."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from diffdescent.apps.textimage import wants_prompt
from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError, unknown
from diffdescent.base.files import write_atomically
from diffdescent.base.image_sets import read_images
from diffdescent.base.images import from_uint8, read_image, save_png, sheet, strip, to_uint8
from diffdescent.base.version import __version__
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.guidance import apply_guidance, parse_guidance
from diffdescent.guidance.wrapper import network_calls
from diffdescent.models import load_model
from diffdescent.run import (
    NOISES,
    Result,
    fingerprint,
    from_level,
    initial_state,
    make_recipe,
    micro_batch_width,
    noise_for,
    resolve_grid,
)
from diffdescent.run import sample as run_sampler

from . import output, prompting
from .progress import Bar

SHEET_LIMIT = 400
"""A sheet shows at most this many images."""
STRIP_ROWS = 8
"""A trajectory strip shows the first samples of a run, at most this many."""


def parse_samples(text: str) -> list[int]:
    """``"0-3,8"`` → [0, 1, 2, 3, 8]. Raises :class:`UserError` for anything else."""
    chosen: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not (last.isdecimal() and int(first) <= int(last))):
            raise UserError(
                f"Cannot read the sample range {part!r}; write for example 0-63 or 0-3,8,10-12."
            )
        chosen += range(int(first), int(last if dash else first) + 1)
    return sorted(set(chosen))


def parse_labels(text: str | None, model: Predictor, count: int) -> torch.Tensor | None:
    """A class name or number for all samples, or a comma-separated list that is repeated over
    them."""
    if text is None:
        return None
    known = info(model)
    names = known.classes
    if names is None and known.label_count is None:
        raise UserError("This model knows no classes; leave --label out.")
    labels = []
    for part in (p.strip() for p in text.split(",")):
        if part.removeprefix("-").isdecimal():
            label = int(part)
            if names and not 0 <= label < len(names):
                raise UserError(
                    f"Label {label} is out of range; this model has classes 0 … {len(names) - 1}:"
                    f" {', '.join(names)}."
                )
        elif names and part in names:
            label = names.index(part)
        elif names:
            raise unknown("class", part, names)
        else:
            raise UserError(
                f"This model names no classes, so {part!r} means nothing to it; give a number as"
                " --label."
            )
        labels.append(label)
    return torch.tensor([labels[i % len(labels)] for i in range(count)])


def _read_init(path: Path, channels: int) -> torch.Tensor:
    """The images to start from, (n, C, H, W) in [−1, 1]: one file, or a folder, zip or npz."""
    if path.is_dir() or path.suffix.lower() in (".zip", ".npz"):
        return from_uint8(read_images(path).images)
    return from_uint8(read_image(path, channels))[None]


def sample(
    model: Annotated[
        str, typer.Argument(help="A bundled name, a diffusers checkpoint folder, or images:PATH.")
    ],
    sampler: Annotated[
        str | None, typer.Option(help='A recipe, e.g. "ge(gamma=2) | momentum(-0.3)".')
    ] = None,
    steps: Annotated[int, typer.Option(help="Steps of the grid.")] = 20,
    grid: Annotated[
        str | None, typer.Option(help="A grid, e.g. loglinear; default: the recipe's usual one.")
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
    guidance_scale: Annotated[
        float | None, typer.Option(help="How strongly the prompt guides.")
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Width of the image of a prompt, in pixels.")
    ] = None,
    height: Annotated[int | None, typer.Option(help="Its height.")] = None,
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
    out: Annotated[Path, typer.Option(help="Folder for the images.")] = Path("samples"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier run in --out.")
    ] = False,
    trajectory: Annotated[
        bool, typer.Option("--trajectory", help="Also write trajectory.png, x0 over the steps.")
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
    started = time.monotonic()
    if batch_size < 1 or (micro_batch is not None and micro_batch < 1):
        raise UserError("--batch-size and --micro-batch must be at least 1.")
    if noise not in NOISES:
        raise unknown("noise", noise, NOISES)
    if mask is not None and init is None:
        raise UserError("--mask needs --init, the image whose region is kept.")
    if prompt is not None or prompts is not None:
        given = {
            "--label": label,
            "--init": init,
            "--mask": mask,
            "--strength": strength,
            "--trajectory": trajectory,
        }
        for option, value in {**given, "--noise": noise != "independent"}.items():
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
    chosen = parse_samples(samples) if samples else list(range(16 if n is None else n))
    if not chosen:
        raise UserError("There is no sample to draw; give --n of at least 1.")
    net = load_model(model, device)
    channels = net.shape[0] if net.shape else 3
    recipe = make_recipe(sampler, steps)
    text = str(recipe)
    if guidance is not None:
        net, recipe = apply_guidance(guidance, net, recipe)
    levels = resolve_grid(grid, recipe, net.process, steps)
    noised = (1.0 if mask else 0.6) if strength is None else strength
    if init is not None and noised < 1:
        levels = from_level(levels, noised)
    labels = parse_labels(label, net, max(chosen) + 1)
    starting = _read_init(init, channels) if init else None
    if starting is not None and net.shape and tuple(starting.shape[1:]) != tuple(net.shape):
        raise UserError(
            f"--init has images of shape {tuple(starting.shape[1:])}, the model's are"
            f" {tuple(net.shape)}."
        )
    region = read_image(mask, channels=1).float().div(255).round() if mask else None
    together = micro_batch_width(net, pick_device(device), micro_batch)
    options: dict[str, Any] = {
        "seed": seed,
        "noise": noise,
        "micro_batch": together,
        "device": device,
    }
    plan = recipe.plan(levels)
    batches = [chosen[first : first + batch_size] for first in range(0, len(chosen), batch_size)]
    record = {
        "model": model,
        "guidance": (
            None if guidance is None else str(parse_guidance(guidance).settled(recipe, net.process))
        ),
        "fingerprint": fingerprint(net),
        "recipe": text,
        "grid": {
            "name": levels.name,
            "t": levels.t.tolist(),
            "alpha": levels.alpha.tolist(),
            "sigma": levels.sigma.tolist(),
        },
        "nfe": plan.nfe,
        "network_calls": sum(network_calls(net, row.at) for row in plan.rows),
        "label": label,
        "init": _described(init, starting),
        "mask": _described(mask, region),
        "strength": noised if init else None,
        "batches": batches if recipe.whole_batch else None,
        "dtype": "float32",
        **options,
        "versions": {"diffdescent": __version__, "torch": torch.__version__},
        "samples": sorted({*chosen, *([] if overwrite else output.present(out))}),
        "command": sys.argv[1:],
    }
    output.check(out, record, overwrite)
    todo = chosen if overwrite else output.missing(out, chosen)
    if recipe.whole_batch:  # a batch that is not all there is made again
        todo = [i for batch in batches if not set(todo).isdisjoint(batch) for i in batch]

    def run(batch: list[int], **more: Any) -> Result:
        images = None if starting is None else starting[[i % len(starting) for i in batch]]
        start = None
        if images is not None and noised < 1:
            start = initial_state(noise_for(seed, batch, images.shape[1:]), levels, images)
        return run_sampler(
            net,
            recipe,
            grid=levels,
            samples=batch,
            labels=None if labels is None else labels[batch],
            start=start,
            init=images if start is None or region is not None else None,
            mask=region,
            batch_size=batch_size,
            **options,
            **more,
        )

    with Bar(len(chosen), done=len(chosen) - len(todo), hidden=quiet or as_json) as bar:
        begun = False
        for first in range(0, len(todo), batch_size):
            batch = todo[first : first + batch_size]
            result = run(batch, callback=bar.step)
            if not begun:
                # Only now: a mistake that shows when the model runs leaves the folder as it was.
                output.begin(out, record, overwrite)
                begun = True
            for i, image in zip(batch, to_uint8(result.images), strict=True):
                save_png(image, output.image_path(out, i))
            bar.finished(len(batch))
    if trajectory:
        # From the first samples whatever the batches were, so that the strip does not depend on
        # them.
        path = run(
            batches[0] if recipe.whole_batch else chosen[:STRIP_ROWS], trajectory=True
        ).trajectory
        if path is not None:
            save_png(strip(path[:, :STRIP_ROWS], scale=2), out / "trajectory.png")
    shown = torch.stack([read_image(p, channels) for p in output.images_in(out)[:SHEET_LIMIT]])
    save_png(sheet(shown), out / "sheet.png")
    seconds = round(time.monotonic() - started, 3)
    write_atomically(
        out / output.RECORD, (json.dumps({**record, "seconds": seconds}, indent=2) + "\n").encode()
    )
    there = len(chosen) - len(todo)
    if as_json:
        summary = {
            "out": str(out),
            "images": len(chosen),
            "made": len(todo),
            "nfe": plan.nfe,
            "seconds": seconds,
        }
        typer.echo(json.dumps(summary))
    elif not quiet:
        for note in levels.notes:
            typer.echo(f"Note: {note}.", err=True)
        guided = "" if guidance is None else f" under {record['guidance']}"
        more = (
            ""
            if record["network_calls"] == plan.nfe
            else f" ({record['network_calls']} calls of the network)"
        )
        typer.echo(
            f"{len(todo)} images{f' ({there} were there)' if there else ''} with {text}{guided} on"
            f" {levels.name}, {plan.nfe} evaluations{more} each, {seconds:.1f} s:"
            f" {out / 'sheet.png'}"
        )


def _described(path: Path | None, images: torch.Tensor | None) -> dict[str, str] | None:
    """A file of the run and what was in it, so that another one under the same name is not taken
    for it."""
    if path is None or images is None:
        return None
    return {"path": str(path), "sha256": hashlib.sha256(images.numpy().tobytes()).hexdigest()[:16]}
