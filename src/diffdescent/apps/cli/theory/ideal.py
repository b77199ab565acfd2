"""``diffdescent theory ideal``: the exact denoiser of a data set against projection onto it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from diffdescent.base.errors import UserError
from diffdescent.base.words import counted

from ..options import Json, OverwriteFolder
from ..progress import Meter
from .options import Batch, Device, Dimension, Limit, Memory, Out, Seed

GRID = "uniform(spacing=trailing, end=first)"
"""The paper's 50 DDPM levels: uniform in time from the noisiest one, ending at the first."""


def ideal(
    data: Annotated[
        str, typer.Argument(help="images:PATH, the data set whose exact denoiser is measured.")
    ],
    sampler: Annotated[str, typer.Option(help="A recipe; its trajectories are measured.")] = "ddim",
    steps: Annotated[int, typer.Option(help="Steps; the paper takes 50.")] = 50,
    grid: Annotated[
        str, typer.Option(help="A grid; the default is the paper's DDPM levels.")
    ] = GRID,
    n: Annotated[int, typer.Option(help="Trajectories; the paper takes 500.")] = 500,
    seed: Seed = 0,
    batch_size: Batch = 100,
    dimension: Dimension = None,
    limit: Limit = None,
    memory: Memory = 2.0,
    device: Device = "cpu",
    out: Out = Path("theory-ideal"),
    overwrite: OverwriteFolder = False,
    as_json: Json = False,
) -> None:
    """Compare the exact denoiser of a data set with projection onto it, in both pairings.

    This is the ideal-denoiser experiment of the paper.
    """
    from diffdescent.core.recipe import parse, parse_grid
    from diffdescent.lab.theory.ideal import measure_ideal
    from diffdescent.lab.theory.image_data import read_set
    from diffdescent.lab.theory.sets.by_name import images_path
    from diffdescent.run.pieces import recipe_identity

    from .report import errors_place, report

    if batch_size < 1 or n < 1:
        raise UserError("--n and --batch-size must be at least 1.")
    where = errors_place(out, overwrite)
    path = images_path(data)
    found = read_set(path, limit=limit, memory=memory, rows=min(batch_size, n), device=device)
    end = float(parse_grid(grid, found.process, steps).ratio[-1])
    about = {
        "set": data,
        "images": len(found.images),
        "sampler": sampler,
        "grid": grid,
        "steps": steps,
        "seed": seed,
    }
    settings = {
        **about,
        "sampler": recipe_identity(parse(sampler)),
        "content": found.fingerprint(),
        "n": n,
        "dimension": dimension,
        "device": device,
    }
    kept = where.of(settings)
    with Meter("measuring", "evaluations", hidden=as_json) as bar:
        errors = measure_ideal(
            found,
            sampler,
            steps=steps,
            grid=grid,
            n=n,
            seed=seed,
            batch_size=batch_size,
            intrinsic=dimension,
            cache=kept.pieces,
            callback=lambda at: bar.to(at.done, at.total),
        )
    title = (
        f"Ideal denoiser of {counted(len(found.images), 'image')} ({path.name}): {sampler},"
        f" {counted(steps, 'step')}"
    )
    report(errors, end, kept, title, about, as_json)
