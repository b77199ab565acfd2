"""``diffdescent convert``: a published checkpoint as a model folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def convert(
    checkpoint: Annotated[
        Path, typer.Argument(help="A .pt, .pth, .ckpt or .safetensors file.", metavar="CHECKPOINT")
    ],
    out: Annotated[Path, typer.Option(help="The model folder to write; new or empty.")],
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Which published checkpoint it is, where its tensors do not say.",
            metavar="NAME",
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="JSON with network, options and process of one that is not published."),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="auto (the average where there is one), ema or model.")
    ] = "auto",
    half: Annotated[bool, typer.Option("--half", help="Store float16.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Turn a published checkpoint into a folder that every command takes as a model.

    The file is recognised by the names and shapes of its tensors. Nothing in it is run: a pickle
    that needs code is refused, with the way to save it anew.
    """
    from diffdescent.base.errors import UserError, unknown
    from diffdescent.base.reading import read_json
    from diffdescent.models.convert import convert as run
    from diffdescent.models.convert.settings import settings_from

    if weights not in ("auto", "ema", "model"):
        raise unknown("kind of weights", weights, ("auto", "ema", "model"))
    settings = None
    if config is not None:
        if format_ is not None:
            raise UserError(
                "--format names a published checkpoint and --config describes another; give one."
            )
        settings = settings_from(read_json(config), str(config))
    made = run(checkpoint, out, name=format_, settings=settings, weights=weights, half=half)
    found = made.settings
    if as_json:
        typer.echo(json.dumps({"out": str(out), "parameters": made.parameters, **found.to_json()}))
        return
    typer.echo(
        f"{found.name or found.network}: {found.network} with {made.parameters:,} parameters, in"
        f" {out}"
    )
