"""``diffdescent theory lowrank``: the error model on Gaussians of low rank."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ..options import Json, OverwriteFolder
from ..progress import Meter
from ..terminal import console as plain_console
from .options import Out, Seed


def lowrank(
    size: Annotated[int, typer.Option(help="n, the ambient dimension.")] = 128,
    steps: Annotated[int, typer.Option(help="Steps.")] = 10,
    n: Annotated[int, typer.Option(help="Trajectories for each d/n.")] = 256,
    decay: Annotated[
        float, typer.Option(help="The variances on the subspace fall as i^−decay.")
    ] = 1.0,
    grid: Annotated[str, typer.Option(help="The grid.")] = "loglinear",
    seed: Seed = 0,
    out: Out = Path("theory-lowrank"),
    overwrite: OverwriteFolder = False,
    as_json: Json = False,
) -> None:
    """Errors and gains against d/n, on Gaussians of low rank.

    η, the gain of gradient estimation and DDIM's bounds, under three metrics.
    """
    from diffdescent.lab.theory.lowrank import FRACTIONS, METRICS, sweep
    from diffdescent.lab.theory.pictures import draw_low_rank

    from ..results import place

    about = {
        "size": size,
        "steps": steps,
        "trajectories": n,
        "decay": decay,
        "grid": grid,
        "seed": seed,
    }
    names = ("lowrank.json", "lowrank.png")
    kept = place(out, "measurement of low ranks", names, overwrite).of(about)
    with Meter("measuring", "ranks", total=len(FRACTIONS), hidden=as_json) as bar:
        rows = sweep(
            FRACTIONS,
            size=size,
            steps=steps,
            n=n,
            decay=decay,
            grid=grid,
            seed=seed,
            cache=kept.pieces,
            progress=bar.to,
        )
    records = [row.record() for row in rows]
    kept.write("lowrank.json", {**about, "rows": records})
    draw_low_rank(
        rows,
        kept.file("lowrank.png"),
        f"Gaussians of rank d in n = {size}: {grid}, {steps} steps, {n} trajectories",
    )
    if as_json:
        typer.echo(json.dumps(records))
        return
    table = Table(show_edge=False, caption="η: medians; high noise σ/α ≈ 30, low noise σ/α ≈ 0.3")
    for name in (
        "d/n",
        "η high",
        *(f"η low\n{metric.split(',')[0]}" for metric in METRICS),
        "gain of GE\n[95 %]",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        etas = (row.eta_at(METRICS[0], 30.0), *(row.eta_at(metric, 0.3) for metric in METRICS))
        gain = row.gain[METRICS[0]]
        cells = ("–" if math.isnan(e) else f"{e:.3g}" for e in etas)
        shown = f"{gain.value:.3f} [{gain.low:.3f}, {gain.high:.3f}]"
        table.add_row(f"{row.fraction:.3f}", *cells, shown)
    plain_console().print(table)
    typer.echo(f"Wrote {out}/lowrank.json and lowrank.png")
