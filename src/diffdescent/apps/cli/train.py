"""``diffdescent train``: train a network by a recipe, or go on with a run that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffdescent.base.errors import UserError


def train(
    config: Annotated[
        Path,
        typer.Argument(
            help="The recipe, a YAML file such as configs/mnist.yaml.", metavar="CONFIG"
        ),
    ],
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", "-s", help="Override a setting: section.name=value. May be repeated."
        ),
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out images that cannot be decoded.")
    ] = False,
    export_only: Annotated[
        bool,
        typer.Option(
            "--export-only", help="Train no further: write the last checkpoint's model folder."
        ),
    ] = False,
    half: Annotated[
        bool, typer.Option("--half", help="Export the averaged weights as float16.")
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option(help="Stop after so much time; the same command goes on from there."),
    ] = None,
) -> None:
    """Train a denoiser or a classifier; a run that was stopped goes on from its last checkpoint."""
    from diffdescent.lab.train import export_last, load_config
    from diffdescent.lab.train import train as run

    overrides = list(set_ or []) + (["data.skip_bad=true"] if skip_bad else [])
    recipe = load_config(config, overrides)
    if export_only and seconds is not None:
        raise UserError("--export-only trains no further; leave --seconds out.")
    if export_only:
        typer.echo(f"The model is in {export_last(recipe, half=half)}")
        return
    result = run(recipe, half=half, seconds=seconds)
    if result.steps < recipe.run.steps:
        typer.echo(f"Stopped for now: {recipe.run.steps - result.steps} steps are left.")
    typer.echo(f"{result.steps} steps, loss {result.loss:.4f}; the model is in {result.folder}")
