"""``diffdescent compare``: samplers side by side at equal cost, measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diffdescent.base.errors import UserError

from .options import (
    AnyModel,
    Device,
    Features,
    GuidanceScale,
    Height,
    MicroBatch,
    Reference,
    Resamples,
    Resize,
    Width,
    labels_option,
)
from .run_study import Loaded, running

if TYPE_CHECKING:
    from .run_study import Described


def parse_parameters(texts: list[str]) -> dict[str, list[Any]]:
    """``["beta=-0.8,0.2"]`` → ``{"beta": [-0.8, 0.2]}``. Raises :class:`UserError` for anything
    else."""
    from diffdescent.base.yaml_text import parse_yaml

    found: dict[str, list[Any]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not name.strip().isidentifier() or not values.strip():
            raise UserError(
                f"Cannot read --vary {text!r}; write a name and its values, such as"
                ' "beta=-0.8,-0.3,0.2".'
            )
        found[name.strip()] = [parse_yaml(value, f"--vary {text!r}") for value in values.split(",")]
    return found


@running
def compare(
    model: AnyModel,
    samplers: Annotated[
        str | None,
        typer.Option(
            help='Recipes, e.g. "ddim; ge @ loglinear; dpmpp(order=2); ddim | momentum({beta})";'
            " default: those that suit the model, each on several grids."
        ),
    ] = None,
    also: Annotated[
        list[str] | None,
        typer.Option(help="A further sampler, e.g. \"calibrated('FILE')\"; may be repeated."),
    ] = None,
    nfe: Annotated[
        str | None,
        typer.Option(
            help="Budgets in network evaluations (--steps: in steps); default 5,10, with images"
            " 5,10,20,50."
        ),
    ] = None,
    steps: Annotated[
        str | None, typer.Option(help="Plain steps of the grid, in place of --nfe.")
    ] = None,
    grids: Annotated[str, typer.Option(help="Grids; usual is each sampler's own.")] = "usual",
    vary: Annotated[
        list[str] | None,
        typer.Option(help='Values of a name in braces, e.g. "beta=-0.8,-0.3"; may be repeated.'),
    ] = None,
    guidance: Annotated[
        str, typer.Option(help='E.g. "none; cfg(scale=1.5); classifier(scale=2) | pxp".')
    ] = "none",
    labels: Annotated[str | None, labels_option("cycle where labels are needed")] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="Text to image: a file of prompts, for a diffusers pipeline folder."),
    ] = None,
    guidance_scale: GuidanceScale = None,
    width: Width = None,
    height: Height = None,
    seeds: Annotated[
        str, typer.Option(help="Seeds; all samplers start from the same noise.")
    ] = "0",
    n: Annotated[
        int | None,
        typer.Option(help="Images for each cell and seed; default 64, with images 1000."),
    ] = None,
    reference: Reference = None,
    features: Features = "cifar10-features",
    resize: Resize = "clean",
    metrics: Annotated[
        str | None,
        typer.Option(
            help="The first one ranks. Default: distances to the model's own solution; with a"
            " reference fd,…"
        ),
    ] = None,
    solution: Annotated[
        int, typer.Option(help="Levels of the own solution, which is checked against twice them.")
    ] = 64,
    out: Annotated[
        Path, typer.Option(help="The study's folder; an interrupted one is continued.")
    ] = Path("comparison"),
    shard_size: Annotated[
        int, typer.Option(help="Samples of one shard, the unit that is lost by a kill.")
    ] = 128,
    images: Annotated[
        int, typer.Option(help="Images of each cell that are kept for the sample sheets.")
    ] = 16,
    batch_size: Annotated[
        int,
        typer.Option(
            help="Samples in memory at a time; changes no image, but with pxp(scope=batch)."
        ),
    ] = 64,
    micro_batch: MicroBatch = None,
    dtype: Annotated[str, typer.Option(help="Of the network: float32, bf16 or fp16.")] = "float32",
    device: Device = "cpu",
    threads: Annotated[int, typer.Option(help="PyTorch threads of each worker.")] = 1,
    resamples: Resamples = 200,
) -> Described:
    """Find the best sampler for a model: the same noise, budgets in network evaluations, intervals.

    Without images the samplers are measured against the model's own solution, and a sentence says
    which to take; with --reference the images that they make are compared with real ones.
    Writes table.parquet, table.csv, report.html and report.md. Stop it at any moment and give the
    same command again: it goes on where it was. `diffdescent study` runs the same from a YAML file.
    """
    from diffdescent.apps.comparing import loaded, study_of

    texts = None
    if prompts is not None:
        from diffdescent.apps.prompts import read_prompts

        texts = read_prompts(prompts)
    asked = {"guidance_scale": guidance_scale, "height": height, "width": width}
    net, _ = loaded(model, texts, guidance, device, asked)
    values: dict[str, Any] = {
        "title": f"Samplers compared on {model}",
        "model": model,
        "samplers": samplers,
        "steps": steps,
        "nfe": nfe,
        "grids": grids,
        "parameters": parse_parameters(vary or []) or None,
        "guidance": guidance,
        "prompts": None if prompts is None else str(prompts),
        "labels": labels,
        "seeds": seeds,
        "n": n,
        "reference": None if reference is None else str(reference),
        "features": features,
        "resize": resize,
        "metrics": metrics,
        "solution": solution,
        "shard": shard_size,
        "images": images,
        "batch_size": batch_size,
        "micro_batch": micro_batch,
        "dtype": dtype,
        "device": device,
        "threads": threads,
        "resamples": resamples,
    }
    return study_of(net, values, also or ()), out, Loaded(net, prompts is None)
