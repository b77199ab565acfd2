"""``diffdescent conflicts``: how the gradients of a guided sampler lie to each other, as a table
and a figure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from diffdescent.base.errors import UserError

from .options import (
    Device,
    Height,
    MicroBatch,
    NegativePrompt,
    Prompt,
    Steps,
    UsualGrid,
    Width,
    labels_option,
)
from .progress import Bar


def conflicts(
    model: Annotated[str, typer.Argument(help="A bundled name or a diffusers checkpoint folder.")],
    guidance: Annotated[
        str, typer.Option(help='What guides, e.g. "classifier(scale=2)" or "cfg(scale=3)".')
    ],
    sampler: Annotated[
        str, typer.Option(help="A recipe; with pxp in it or in --guidance, PxP is taken.")
    ] = "ddpm",
    steps: Steps = 50,
    grid: UsualGrid = None,
    n: Annotated[int, typer.Option(help="How many samples.")] = 64,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    labels: Annotated[str | None, labels_option("cycle")] = None,
    prompt: Prompt = None,
    negative_prompt: NegativePrompt = None,
    width: Width = None,
    height: Height = None,
    micro_batch: MicroBatch = None,
    device: Device = "cpu",
    out: Annotated[
        Path, typer.Option(help="Folder for the figure, the table and what was measured.")
    ] = Path("conflicts"),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier analysis in --out.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress bar, no table.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every figure as JSON on standard output.")
    ] = False,
) -> None:
    """Measure the conflicts between guidance, denoising and noise at every step: conflicts.png and
    conflicts.csv.

    An interrupted analysis is continued by the same command, and a larger --n adds samples to it.
    A pipeline folder with a --prompt is asked without its own guidance, in latents; --guidance goes
    around it.
    """
    from diffdescent.core.recipe import parse
    from diffdescent.guidance import apply_guidance
    from diffdescent.lab.conflicts import analysis

    from .conflict_tables import described, print_conflicts
    from .labels import parse_labels
    from .prompted import prompted

    if n < 1:
        raise UserError("There is no sample to measure; give --n of at least 1.")
    if micro_batch is not None and micro_batch < 1:
        raise UserError("--micro-batch must be at least 1.")
    asked = {"negative_prompt": negative_prompt, "width": width, "height": height}
    bare = prompted(model, prompt, asked, device=device, micro_batch=micro_batch, bare=True)
    net, recipe = apply_guidance(guidance, bare, parse(sampler))
    ready = analysis(
        net, recipe, n=n, steps=steps, grid=grid, labels=parse_labels(labels, net, n), seed=seed,
        micro_batch=micro_batch, device=device, out=out, overwrite=overwrite,
    )  # fmt: skip
    todo = [chunk for chunk in ready.chunks() if ready.known(chunk) is None]
    with Bar(n, done=n - sum(map(len, todo)), hidden=quiet or as_json) as bar:
        for chunk in todo:
            ready.measure(chunk, bar.step)
            bar.finished(len(chunk))
    found = ready.table()
    table, picture = found.write(out)
    if as_json:
        typer.echo(
            json.dumps(described(found) | {"table": str(table), "figure": str(picture)}, indent=2)
        )
    elif not quiet:
        print_conflicts(found)
        typer.echo(f"Figure: {picture}\nTable:  {table}")
