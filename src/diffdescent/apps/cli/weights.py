"""``diffdescent weights``: how much each past evaluation counts in what a sampler makes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from diffdescent.base.errors import unknown

from .options import Json, OverwriteFile, Steps, UsualGrid
from .processes import ProcessName, process_named

if TYPE_CHECKING:
    from rich.table import Table


def weights(
    sampler: Annotated[str, typer.Argument(help='A recipe, e.g. "ge(gamma=2) | momentum(-0.3)".')],
    steps: Steps = 10,
    grid: UsualGrid = None,
    process: ProcessName = "linear",
    basis: Annotated[
        str, typer.Option(help="Read the evaluations as estimates of x0 or eps.")
    ] = "x0",
    plot: Annotated[Path | None, typer.Option(help="Draw the weights to this file.")] = None,
    overwrite: OverwriteFile = False,
    as_json: Json = False,
) -> None:
    """Print the effective weights of a linear sampler.

    The table has a row for each committed state and a column for each evaluation. Of a calibrated
    sampler it is the mean over all frequencies, and a second table has a row for each band.
    """
    from diffdescent.core.band_weights import band_weights
    from diffdescent.core.predict import Basis
    from diffdescent.core.recipe import default_grid, parse, parse_grid
    from diffdescent.core.weights import effective_weights

    from .results import check_new

    check_new(plot, overwrite, "--plot")
    kind = process_named(process)
    if basis not in ("x0", "eps"):
        raise unknown("basis", basis, ("x0", "eps"))
    recipe = parse(sampler)
    levels = parse_grid(grid or default_grid(recipe, kind), kind, steps)
    found = effective_weights(recipe, levels, basis=cast(Basis, basis))
    over_bands = None
    if recipe.solver.plan(levels).spectral is not None:
        over_bands = band_weights(recipe, levels, basis=cast(Basis, basis))
    if as_json:
        arrays = {"start": found.start, "evals": found.evals, "noise": found.noise}
        record = {"name": found.name, "basis": basis, "grid": levels.t.tolist()}
        record |= {key: value.tolist() for key, value in arrays.items()}
        if over_bands is not None:
            record["bands"] = {
                "groups": over_bands.groups,
                "knots": over_bands.knots,
                "start": over_bands.start.tolist(),
                "evals": over_bands.evals.tolist(),
            }
        typer.echo(json.dumps(record, indent=2))
    else:
        from .terminal import console

        typer.echo(f"{found.summary}\ngrid: {levels.name}\n")
        console().print(_table(*found.cells(), found.labels))
        if over_bands is not None:
            typer.echo("\nIn the result, by radial frequency ρ:")
            console().print(_table(*over_bands.cells(), over_bands.labels))
    if plot is not None:
        from .draw_weights import draw_bands, draw_weights

        if over_bands is None:
            draw_weights(found, plot)
        else:
            draw_bands(over_bands, plot)
        typer.echo(f"Wrote {plot}", err=True)


def _table(head: list[str], rows: list[list[str]], labels: Sequence[str]) -> Table:
    """A table of weights; a narrow terminal leaves out the oldest evaluations."""
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for name in head:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*row)
    table.less_needed = tuple(labels)  # type: ignore[attr-defined]
    return table
