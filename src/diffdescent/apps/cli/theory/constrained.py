"""``diffdescent theory constrained``: constrained sampling against alternating projections."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from diffdescent.base.errors import UserError

from ..options import Json, OverwriteFolder
from ..terminal import console as plain_console
from .options import Out, Seed


def constrained(
    steps: Annotated[int, typer.Option(help="Steps of each run.")] = 40,
    n: Annotated[int, typer.Option(help="Runs of each case.")] = 64,
    seed: Seed = 0,
    out: Out = Path("theory-constrained"),
    overwrite: OverwriteFolder = False,
    as_json: Json = False,
) -> None:
    """How fast constrained sampling comes to what data and constraint share.

    Exact denoisers of subspaces, spheres and points, with the estimate projected on a subspace,
    against the rates of alternating projections.
    """
    from diffdescent.base.statistics import percent
    from diffdescent.lab.theory.constrained_picture import draw_constrained
    from diffdescent.lab.theory.constrained_table import rates, reached

    from ..results import place

    if steps < 2 or n < 1:
        raise UserError("--steps must be at least 2 and --n at least 1.")
    names = ("constrained.json", "constrained.png")
    settings = {"steps": steps, "runs": n, "seed": seed}
    kept = place(out, "measurement of constraints", names, overwrite).of(settings)
    rows, reach = list(rates(steps, n, seed)), list(reached(steps, 4 * n, seed))
    result = {
        **settings,
        "rates": [row.record() for row in rows],
        "points": [row.record() for row in reach],
    }
    kept.write("constrained.json", result)
    draw_constrained(rows, reach, kept.file("constrained.png"))
    if as_json:
        typer.echo(json.dumps(result))
        return
    table = Table(
        show_edge=False,
        caption="kept of the distance to the intersection; AP: a round of alternating projections",
    )
    for name in ("case", "sampler", "last step", "theory", "all steps", "AP", "cos²θ"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        numbers = (row.kept, row.predicted, row.left, row.projections, row.von_neumann)
        table.add_row(row.case, row.sampler, *(f"{x:.3g}" for x in numbers))
    plain_console().print(table)
    for found in reach:
        typer.echo(
            f"{found.case}, {found.sampler}: {percent(found.reached)} of runs end in one that keeps"
            f" the constraint, {percent(found.alone)} without it."
        )
    typer.echo(f"Wrote {out}/constrained.json and constrained.png")
