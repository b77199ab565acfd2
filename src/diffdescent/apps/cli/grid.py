"""``diffdescent grid``: print and plot noise grids against each other."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from diffdescent.base.errors import unknown

from .options import Json, OverwriteFile
from .processes import ProcessName, process_named
from .terminal import console as plain_console

if TYPE_CHECKING:
    from diffdescent.core.grid import Grid
    from diffdescent.core.process import Process


def grid(
    names: Annotated[
        list[str], typer.Argument(help='Grids, e.g. loglinear karras "uniform(spacing=trailing)".')
    ],
    steps: Annotated[int, typer.Option(help="Steps of each grid.")] = 10,
    process: ProcessName = "linear",
    plot: Annotated[
        Path | None, typer.Option(help="Write a plot of σ/α against the step to this file.")
    ] = None,
    overwrite: OverwriteFile = False,
    export: Annotated[
        str | None,
        typer.Option(
            help="Print the levels for comfyui (SIGMAS) or diffusers (sigmas, timesteps)."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the levels of noise grids side by side.

    The table has the time and σ/α at each step, the end included. A calibrated sampler,
    "calibrated('FILE')", stands for the levels that it was fitted on.
    """
    from diffdescent.core.recipe import grid_named, parse_grid

    from .results import check_new

    check_new(plot, overwrite, "--plot")
    if export is not None:
        _export(names, process_named(process), steps, export, as_json)
        return
    grids = {name: parse_grid(grid_named(name), process_named(process), steps) for name in names}
    if as_json:
        levels = {
            name: {
                "t": g.t.tolist(),
                "alpha": g.alpha.tolist(),
                "sigma": g.sigma.tolist(),
                "notes": list(g.notes),
            }
            for name, g in grids.items()
        }
        typer.echo(json.dumps(levels, indent=2))
    else:
        _print(grids)
    if plot is not None:
        _plot(grids, plot)
        typer.echo(f"Wrote {plot}", err=True)


def _export(names: list[str], process: Process, steps: int, program: str, as_json: bool) -> None:
    from diffdescent.apps.exported_levels import PROGRAMS, exported

    if program not in PROGRAMS:
        raise unknown("program", program, PROGRAMS)
    found = {name: exported(name, process, steps) for name in names}
    if as_json:
        typer.echo(json.dumps({name: asdict(one) for name, one in found.items()}, indent=2))
    for name, one in found.items():
        if not as_json:
            typer.echo("\n".join([*([f"# {name}"] if len(found) > 1 else []), *one.lines(program)]))
        if one.warning is not None:
            typer.echo(f"Warning: {one.warning}", err=True)


def _print(grids: dict[str, Grid]) -> None:
    table = Table(show_edge=False)
    table.add_column("step", justify="right")
    for name in grids:
        table.add_column(f"{name}\n{'t':>7} {'σ/α':>9}", justify="right")
    for i in range(max(g.steps for g in grids.values()) + 1):
        row = [str(i)]
        row += [
            f"{g.t[i]:>7.6g} {g.ratio[i]:>9.5g}" if i <= g.steps else "" for g in grids.values()
        ]
        table.add_row(*row)
    console = plain_console()
    console.print(table)
    for name, g in grids.items():
        for note in g.notes:
            console.print(f"{name}: {note}")


def _plot(grids: dict[str, Grid], path: Path) -> None:
    import matplotlib

    from diffdescent.base.images import save_figure

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name, g in grids.items():
        shown = g.ratio > 0  # a log axis has no place for the end σ = 0
        axes.semilogy(
            [i / g.steps for i in range(g.steps + 1) if shown[i]],
            g.ratio[shown],
            "o-",
            ms=3,
            label=name,
        )
    axes.set(xlabel="step / N", ylabel="σ/α (an end at 0 is not drawn)", title="Noise grids")
    axes.legend()
    save_figure(figure, path)
    plt.close(figure)
