"""``diffdescent condition``: small images or texts for a network that needs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def condition(
    network: Annotated[
        Path,
        typer.Argument(
            help="A converted checkpoint: super-resolution or GLIDE.", metavar="NETWORK"
        ),
    ],
    out: Annotated[Path, typer.Option(help="The model folder to write; new or empty.")],
    images: Annotated[
        Path | None, typer.Option(help="Small images to enlarge (folder, zip or npz).")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Their classes by number, e.g. 207,360; or one for all.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="A text for GLIDE.")] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="A text file (one a line) or COCO captions.")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder of GPT-2's tokenizer (vocab.json, merges.txt), for texts."),
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Images of which an inpainting network keeps a part.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Image: white where --init is kept.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Write a model folder whose labels are small images, texts, or both.

    Label k asks the network with the k-th image or text; one of either serves all. The folder
    refers to the network's, which stays where it is, and every command takes it: sample, compare,
    calibrate, --guidance.
    """
    from diffdescent.apps.conditioning import Files, read_inputs
    from diffdescent.models.convert.conditioned import write_conditioned

    files = Files(
        images=images,
        classes=None if classes is None else _numbers(classes),
        prompt=prompt,
        prompts=prompts,
        tokenizer=tokenizer,
        init=init,
        mask=mask,
    )
    inputs, names = read_inputs(network, files)
    write_conditioned(out, network, inputs, names)
    if as_json:
        typer.echo(json.dumps({"out": str(out), "labels": names}))
        return
    shown = ", ".join(repr(name) for name in names[:3]) + (", …" if len(names) > 3 else "")
    typer.echo(
        f"{len(inputs)} labels ({shown}), in {out}; draw them with:"
        f" diffdescent sample {out} --labels cycle --n {len(inputs)}"
    )


def _numbers(text: str) -> list[int]:
    from diffdescent.base.errors import UserError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise UserError(f"--classes are numbers with commas between them, not {text[:40]!r}.")
    return [int(part) for part in parts]
