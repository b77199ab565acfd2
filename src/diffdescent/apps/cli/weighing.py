"""``diffdescent weights``: how much each past evaluation counts in what a sampler makes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast

import typer

from diffdescent.base.errors import unknown
from diffdescent.base.images import save_figure
from diffdescent.core.predict import Basis
from diffdescent.core.recipe import default_grid, parse, parse_grid
from diffdescent.core.weights import Weights, effective_weights

from .grids import PROCESSES


def weights(
    sampler: Annotated[str, typer.Argument(help='A recipe, e.g. "ge(gamma=2) | momentum(-0.3)".')],
    steps: Annotated[int, typer.Option(help="Steps of the grid.")] = 10,
    grid: Annotated[
        str | None, typer.Option(help="A grid; default: the recipe's usual one.")
    ] = None,
    process: Annotated[str, typer.Option(help=f"One of {', '.join(PROCESSES)}.")] = "linear",
    basis: Annotated[
        str, typer.Option(help="Read the evaluations as estimates of x0 or eps.")
    ] = "x0",
    plot: Annotated[
        Path | None, typer.Option(help="Write a heat map of the weights to this file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Print the effective weights of a linear sampler: a row per committed state, a column per
    evaluation."""
    if process not in PROCESSES:
        raise unknown("process", process, PROCESSES)
    if basis not in ("x0", "eps"):
        raise unknown("basis", basis, ("x0", "eps"))
    recipe = parse(sampler)
    levels = parse_grid(grid or default_grid(recipe, PROCESSES[process]), PROCESSES[process], steps)
    found = effective_weights(recipe, levels, basis=cast(Basis, basis))
    if as_json:
        import json

        arrays = {"start": found.start, "evals": found.evals, "noise": found.noise}
        typer.echo(json.dumps({"name": found.name, "basis": basis, "grid": levels.t.tolist()} | {
            key: value.tolist() for key, value in arrays.items()
        }, indent=2))  # fmt: skip
    else:
        typer.echo(f"{found.summary}\ngrid: {levels.name}\n\n{found.table()}")
    if plot is not None:
        draw_weights(found, plot)
        typer.echo(f"Wrote {plot}", err=True)


def draw_weights(found: Weights, path: Path) -> None:
    """The effective weights as a heat map: a row for each committed state, a column for each
    evaluation."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    limit = float(np.abs(found.evals).max()) or 1.0
    size = 3.0 + 0.28 * len(found.at)
    figure, axes = plt.subplots(
        figsize=(size + 1.0, 1.8 + 0.28 * len(found.points)), layout="constrained"
    )
    image = axes.imshow(found.evals, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    axes.set_xticks(range(len(found.at)), found.labels, rotation=90, fontsize=7)
    axes.set_yticks(range(len(found.points)), [f"{p.ratio:.3g}" for p in found.points], fontsize=7)
    kind = "x0" if found.basis == "x0" else "ε"
    axes.set(
        xlabel=f"evaluation (estimates of {kind})",
        ylabel="σ/α of the committed state",
        title=found.name,
    )
    figure.colorbar(image, label="weight")
    save_figure(figure, path)
    plt.close(figure)
