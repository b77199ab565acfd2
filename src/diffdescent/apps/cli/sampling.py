"""``diffdescent sample``: images from a model, as PNG files, a sheet and a record."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from diffdescent.base.errors import UserError, unknown

from .options import GuidanceScale, Height, Width, labels_option


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
    labels: Annotated[str | None, labels_option("none")] = None,
    guidance: Annotated[
        str | None,
        typer.Option(
            help='Towards --labels, e.g. "classifier(scale=2) | pxp"; with --prompt "cfg | pxp".'
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
    from diffdescent.base.device import use_threads
    from diffdescent.run import NOISES

    from . import drawing, presetting, prompting
    from .prompted import without_a_prompt

    if batch_size < 1 or (micro_batch is not None and micro_batch < 1):
        raise UserError("--batch-size and --micro-batch must be at least 1.")
    if noise not in NOISES:
        raise unknown("noise", noise, NOISES)
    if mask is not None and init is None:
        raise UserError("--mask needs --init, the image whose region is kept.")
    chosen = parse_samples(samples) if samples else None
    if prompt is not None or prompts is not None:
        _refuse_with_a_prompt(
            {
                "--labels": labels,
                "--init": init,
                "--mask": mask,
                "--strength": strength,
                "--preview": preview or None,
                "--gamma": gamma,
                "--preset": preset,
                "--classifier": classifier,
                "--noise": None if noise == "independent" else noise,
            }
        )
        if threads is not None:
            use_threads(threads)
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
                chosen=chosen,
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
    of_a_prompt = {
        "negative_prompt": negative_prompt,
        "guidance_scale": guidance_scale,
        "width": width,
        "height": height,
    }
    without_a_prompt(model, of_a_prompt, "--prompt, or --prompts FILE")
    if strength is not None and init is None:
        raise UserError("--strength needs --init, the images that get so much noise.")
    if threads is not None:
        use_threads(threads)
    chosen = list(range(16 if n is None else n)) if chosen is None else chosen
    if not chosen:
        raise UserError("There is no sample to draw; give --n of at least 1.")
    drawing.run(
        drawing.Request(
            model=model,
            sampler=sampler,
            steps=steps,
            steps_named=presetting.named(ctx, "steps"),
            grid=grid,
            preset=preset,
            classifier=classifier,
            gamma=gamma,
            chosen=chosen,
            seed=seed,
            labels=labels,
            guidance=guidance,
            batch_size=batch_size,
            micro_batch=micro_batch,
            init=init,
            strength=strength,
            mask=mask,
            noise=noise,
            device=device,
            out=out,
            overwrite=overwrite,
            trajectory=trajectory,
            preview=preview,
            quiet=quiet,
            as_json=as_json,
        )
    )


def _refuse_with_a_prompt(options: Mapping[str, object]) -> None:
    """Raise :class:`UserError` for the first option that was given; None stands for one that was
    not."""
    for option, value in options.items():
        if value is not None:
            raise UserError(f"{option} has no meaning for a prompt; leave it out.")
