"""``diffdescent theory distance``: how far images are from a data set."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from diffdescent.base.errors import UserError

from ..options import Json
from ..terminal import console as plain_console
from .options import Device, Limit, Memory


def distance(
    data: Annotated[Path, typer.Argument(help="The set: a folder, zip or npz of images.")],
    images: Annotated[Path, typer.Argument(help="The images asked about: a folder, zip or npz.")],
    sigma: Annotated[
        float | None, typer.Option(help="Also the smoothed distance at this σ.")
    ] = None,
    limit: Limit = None,
    memory: Memory = 2.0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Distance of each image to a data set, and which of its images is nearest."""
    from diffdescent.base.image_sets import read_images
    from diffdescent.lab.theory.image_data import read_set
    from diffdescent.lab.theory.sets.points import Points

    points = Points(read_set(data, limit=limit, memory=memory, device=device))
    asked = read_images(images)
    if asked.shape != points.shape:
        raise UserError(
            f"The images of {images} have shape {asked.shape}, but those of {data} {points.shape}."
        )
    x = (asked.images.double() * (2 / 255) - 1).to(points.data.device)
    found, index = points.data.neighbours(x)
    rows = [
        {
            "image": name,
            "distance": float(d),
            "per_number": float(d) / math.sqrt(x[0].numel()),
            "nearest": int(i),
        }
        for name, d, i in zip(asked.names, found[:, 0], index[:, 0], strict=True)
    ]
    if sigma is not None:
        value, _ = points.smoothed(x, sigma)
        for row, smooth in zip(rows, value.tolist(), strict=True):
            row["smoothed"] = smooth
    if as_json:
        typer.echo(json.dumps(rows))
        return
    table = Table(show_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="left" if name == "image" else "right")
    for row in rows:
        table.add_row(*(f"{v:.6g}" if isinstance(v, float) else str(v) for v in row.values()))
    plain_console().print(table)
