"""``diffdescent peculiarity count``: what the counter reads in images of figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ..terminal import console as plain_console


def count(
    images: Annotated[
        Path, typer.Argument(help="Folder, zip or npz of grey 32×32 images, white on black.")
    ],
    as_json: Annotated[
        bool, typer.Option("--json", help="Print every image's counts as JSON.")
    ] = False,
) -> None:
    """Count heads, arms, legs and fingers of figures: normal, peculiar or unreadable."""
    from diffdescent.base.image_sets import read_images
    from diffdescent.base.statistics import wilson
    from diffdescent.lab.peculiarity.counter import count_limbs

    found = read_images(images)
    readings = count_limbs(found.images)
    if as_json:
        rows = zip(
            found.names,
            readings.counts.tolist(),
            readings.species,
            readings.unreadable,
            strict=True,
        )
        keys = ("image", "counts", "species", "unreadable")
        typer.echo(json.dumps([dict(zip(keys, row, strict=True)) for row in rows], indent=1))
        return
    table = Table("read as", "images", "share [95 %]", show_edge=False)
    for name, number in readings.tally().items():
        table.add_row(name, str(number), str(wilson(number, len(readings))))
    plain_console().print(table)
