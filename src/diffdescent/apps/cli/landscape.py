"""``diffdescent landscape``: a sampler's path among its noisy surroundings, and its image for
several step counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import typer

from diffdescent.base.errors import UserError, unknown

from .options import (
    AnyModel,
    Device,
    GuidanceScale,
    Height,
    Json,
    NegativePrompt,
    OneLabel,
    OverwriteFolder,
    Prompt,
    Width,
)
from .progress import Meter

COUNTS = "20,40,60,80,100,120,140,160,180,200"
"""The step counts of the paper's strip."""


def _counts(text: str) -> list[int]:
    parts = [p.strip() for p in text.split(",") if p.strip()]
    if not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise UserError(
            f"Cannot read the step counts {text!r}; write for example 20,50,100, or none."
        )
    return [int(p) for p in parts]


def landscape(
    model: AnyModel,
    samplers: Annotated[
        str, typer.Option(help="Recipes, separated by semicolons.")
    ] = "ddim; ddim | momentum(-0.3)",
    steps: Annotated[int, typer.Option(help="Steps of the trajectories.")] = 50,
    grid: Annotated[
        str | None, typer.Option(help="A grid; default: each recipe's usual one.")
    ] = None,
    sample: Annotated[int, typer.Option(help="Which sample of the seed.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    labels: OneLabel = None,
    prompt: Prompt = None,
    negative_prompt: NegativePrompt = None,
    guidance_scale: GuidanceScale = None,
    width: Width = None,
    height: Height = None,
    around: Annotated[int, typer.Option(help="Noisy neighbours of every state.")] = 24,
    spread: Annotated[
        float, typer.Option(help="Standard deviation of their noise, in VP coordinates.")
    ] = 1.0,
    reference_steps: Annotated[
        int, typer.Option(help="Ancestral steps of the reference; the paper takes 1000.")
    ] = 1000,
    plane: Annotated[
        str, typer.Option(help="Principal components of the runs, or of all points (the paper).")
    ] = "runs",
    counts: Annotated[
        str, typer.Option(help="Step counts of the strip of images; none for no strip.")
    ] = COUNTS,
    batch_size: Annotated[int, typer.Option(help="Neighbours denoised at a time.")] = 32,
    device: Device = "cpu",
    out: Annotated[
        Path, typer.Option(help="Folder for the pictures, numbers and the cache.")
    ] = Path("landscape"),
    overwrite: OverwriteFolder = False,
    as_json: Json = False,
) -> None:
    """Draw trajectories among their noisy surroundings, and images for several step counts.

    The surroundings are shown in two principal components, the images as a strip.
    Everything computed is kept in OUT/cache: an interrupted command goes on, and a changed one,
    with --overwrite, computes only what is missing. Of a pipeline folder with a --prompt the path
    is that of the latents under its own guidance, and the strip is decoded.
    """
    from diffdescent.core.recipe import parse
    from diffdescent.lab.landscape import REFERENCE, Landscape, draw_landscape, draw_strip
    from diffdescent.run import resolve_grid
    from diffdescent.run.pieces import model_identity, recipe_identity

    from .labels import one_label
    from .prompted import prompted, shown
    from .results import place

    recipes = [part.strip() for part in samplers.split(";") if part.strip()]
    if not recipes:
        raise UserError(
            'There is no sampler; give for example --samplers "ddim; ddim | momentum(-0.3)".'
        )
    if plane not in ("runs", "all"):
        raise unknown("plane", plane, ("runs", "all"))
    if sample < 0:
        raise UserError(f"--sample must be at least 0, not {sample}.")
    where = place(out, "landscape", ("landscape.json", "landscape.png", "strip.png"), overwrite)
    numbers = [] if counts.strip().lower() == "none" else _counts(counts)
    asked = {
        "negative_prompt": negative_prompt,
        "guidance_scale": guidance_scale,
        "width": width,
        "height": height,
    }
    if prompt is not None and labels is not None:
        raise UserError("A --prompt takes the place of --labels; leave one of them out.")
    net = prompted(model, prompt, asked, device=device)
    chains = [parse(text) for text in recipes]
    nfe = [chain.plan(resolve_grid(grid, chain, net.process, steps)).nfe for chain in chains]
    for chain in chains:  # what cannot run is refused before anything is computed
        for count in numbers:
            chain.plan(resolve_grid(grid, chain, net.process, count))
    resolve_grid(None, parse(REFERENCE), net.process, reference_steps)
    number = 0 if prompt is not None else one_label(labels, net)
    settings = {
        "model": model,
        "fingerprint": model_identity(net),
        "samplers": [recipe_identity(chain) for chain in chains],
        "steps": steps,
        "grid": grid,
        "sample": sample,
        "seed": seed,
        "label": number,
        "around": around,
        "spread": spread,
        "reference_steps": reference_steps,
        "plane": plane,
        "counts": numbers,
        "device": device,
    }
    kept = where.of(settings)
    total = 1 + sum(nfe) + len(recipes) * (1 + len(numbers))
    with Meter("computing", "pieces", total=total, hidden=as_json) as bar:
        view = Landscape(
            net,
            kept.pieces,
            seed=seed,
            number=sample,
            label=number,
            steps=steps,
            grid=grid,
            around=around,
            spread=spread,
            reference_steps=reference_steps,
            batch=batch_size,
            device=device,
            progress=bar.to,
        )
        reference = view.reference()
        paths = [view.path(text) for text in recipes]
        strip = [[view.image(text, count) for count in numbers] for text in recipes]
    shares = draw_landscape(
        view, paths, reference, kept.file("landscape.png"), fit=cast(Literal["runs", "all"], plane)
    )
    if numbers:
        draw_strip(
            [[shown(image, net) for image in row] for row in strip],
            recipes,
            numbers,
            shown(reference.reshape(view.shape), net),
            reference_steps,
            kept.file("strip.png"),
        )
    root = reference.numel() ** 0.5
    result: dict[str, Any] = {
        "model": model,
        "sample": sample,
        "seed": seed,
        "steps": steps,
        "around": around,
        "spread": spread,
        "reference_steps": reference_steps,
        "variance_of_two_components": shares,
        "end_to_reference_rmse": {
            p.name: float((p.x0[-1] - reference).norm()) / root for p in paths
        },
        "strip_to_reference_rmse": {
            p.name: {
                str(c): float((i.flatten() - reference).norm()) / root
                for c, i in zip(numbers, row, strict=True)
            }
            for p, row in zip(paths, strip, strict=True)
        },
    }
    kept.write("landscape.json", result)
    if as_json:
        typer.echo(json.dumps(result))
        return
    for name, share in shares.items():
        typer.echo(
            f"Two components explain {100 * share['runs']:.1f} % of the variance of the runs'"
            f" {name} and {100 * share['all']:.1f} % with the noisy surroundings; the rest is not"
            " in the picture."
        )
    for name, value in result["end_to_reference_rmse"].items():
        typer.echo(f"{name}: RMSE {value:.4f} to the reference at the end")
    typer.echo(
        f"Wrote {out}/landscape.png, {'strip.png, ' if numbers else ''}landscape.json (and the"
        " cache)"
    )
