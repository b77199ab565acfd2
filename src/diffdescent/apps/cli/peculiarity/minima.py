"""``diffdescent peculiarity minima``: are peculiar images local minima?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from diffdescent.base.errors import UserError

from ..options import Device, OverwriteFolder, Quiet
from ..progress import Meter
from ..terminal import console as plain_console
from .options import TrainingSet

BASE = "ddim"
"""The recipe that the documentation's study compares others with."""


def minima(
    model: Annotated[str, typer.Argument(help="The study's model.")] = "figures",
    study: Annotated[
        Path, typer.Option(help="The study's folder; its images are measured.")
    ] = Path("study"),
    sampler: Annotated[
        str, typer.Option(help="The recipe whose outputs are measured, each sample once.")
    ] = BASE,
    steps: Annotated[int, typer.Option(help="Its steps.")] = 50,
    most: Annotated[int, typer.Option(help="At most this many images of each kind.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the noise of the returns.")] = 0,
    data: TrainingSet = None,
    device: Device = "cpu",
    overwrite: OverwriteFolder = False,
    quiet: Quiet = False,
) -> None:
    """Are peculiar images local minima?

    Compares peculiar with normal outputs of one sampler, with 95 % intervals: how nearly a fixed
    point of the denoiser an image is, whether it comes back after noise, and how far it moved.
    Writes minima.csv and minima.png into the folder minima within the study's; 85 evaluations an
    image; an interrupted run is continued.
    """
    import numpy as np

    from diffdescent.lab.peculiarity import study as studies
    from diffdescent.lab.peculiarity.minima import BLOCK
    from diffdescent.lab.peculiarity.minima import minima as measure
    from diffdescent.lab.peculiarity.minima_table import compare, write_lines
    from diffdescent.lab.peculiarity.pictures import draw_minima
    from diffdescent.lab.peculiarity.points import Point
    from diffdescent.models import load_model
    from diffdescent.run.pieces import Pieces, model_identity

    from ..results import place
    from .training_set import content, read_training_set

    point = Point(sampler, steps)
    outcome = next((o for o in studies.outcomes(study) if o.point == point), None)
    if outcome is None:
        raise UserError(
            f"{study} has no outputs of {sampler} with {steps} steps; name a point of its"
            " study.csv."
        )
    studies.same_model(study, net := load_model(model, device))
    training = read_training_set(data)
    rng = np.random.default_rng(seed)
    kinds = {"peculiar": outcome.peculiar, "normal": outcome.normal}
    places = {kind: rng.permutation(np.nonzero(which)[0])[:most] for kind, which in kinds.items()}
    settings = {
        "model": model_identity(net),
        "images": content(outcome.images),
        "sampler": sampler,
        "steps": steps,
        "most": most,
        "seed": seed,
        "data": content(training),
        "device": device,
    }
    names, out = ("minima.csv", "minima.png"), study / "minima"
    kept = place(out, "measurement of minima", names, overwrite, below="").of(settings)
    total = sum(-(-len(place) // BLOCK) for place in places.values())
    with Meter("measuring", total=total, hidden=quiet) as bar:
        pieces = Pieces(kept.pieces, progress=bar.to)
        odd, good = (
            measure(
                net,
                outcome.images[place],
                kind,
                outcome.labels[place],
                seed=seed,
                training=training,
                pieces=pieces,
            )
            for kind, place in places.items()
        )
    lines = compare(odd, good)
    shown = Table(
        "figure", "at", f"peculiar ({odd.n})", f"normal ({good.n})", "difference", show_edge=False
    )
    for line in lines:
        shown.add_row(line.figure, line.at, *line.texts)
    plain_console().print(shown)
    write_lines(lines, kept.file("minima.csv"))
    draw_minima(odd, good, kept.file("minima.png"))
    typer.echo(f"Table: {out / 'minima.csv'}\nPicture: {out / 'minima.png'}")
