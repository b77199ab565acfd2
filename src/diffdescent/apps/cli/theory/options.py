"""Options that several commands of ``diffdescent theory`` have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffdescent.base.errors import UserError


def _with_float64(name: str) -> str:
    from diffdescent.base.device import pick_device
    from diffdescent.models.exact import float64_device

    device = pick_device(name)
    if float64_device(device) != device:
        raise UserError(f"Distances are measured in float64, which {name} does not have; use cpu.")
    return name


Memory = Annotated[
    float, typer.Option(help="GiB that the process may take; a larger set is an error.")
]
Limit = Annotated[int | None, typer.Option(help="Use this many images of the set, evenly spread.")]
Out = Annotated[
    Path,
    typer.Option(
        help=(
            "Folder for numbers (JSON, CSV), pictures and the cache, from which a killed run"
            " goes on."
        )
    ),
]
Dimension = Annotated[
    float | None,
    typer.Option(
        help="Intrinsic dimension d of the data (see `theory set`), to compare errors to σ√d."
    ),
]
Batch = Annotated[
    int, typer.Option(help="Trajectories run, and then written to the cache, at a time.")
]
Device = Annotated[
    str, typer.Option(help="cpu or cuda; mps has no float64.", callback=_with_float64)
]
Seed = Annotated[int, typer.Option(help="Seed of the noise and of samples drawn.")]
