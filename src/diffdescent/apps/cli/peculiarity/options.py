"""Options that several commands of ``diffdescent peculiarity`` have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Clusters = Annotated[
    Path | None,
    typer.Option(
        "--clusters", help="Clusters from `peculiarity clusters`; default: those of COCO 2017."
    ),
]
TrainingSet = Annotated[
    Path | None, typer.Option(help="The training set, for the distance to its nearest image.")
]
Bf16 = Annotated[bool, typer.Option("--bf16", help="Evaluate the network in bfloat16.")]
