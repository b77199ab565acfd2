"""The ``diffdescent`` command: registers the commands and turns bad input into one sentence and
exit code 2."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Entry point of the console script."""
    try:
        import typer
    except ImportError:
        sys.exit(
            "The command line needs Typer and Rich; install them with: pip install"
            " 'diffdescent[cli]'"
        )
    from diffdescent.base.errors import UserError

    from . import (
        compare,
        conflicts,
        demo,
        evaluate,
        explain,
        grids,
        landscape,
        listing,
        peculiarity,
        sampling,
        study,
        theory,
        train,
        weighing,
    )

    app = typer.Typer(
        name="diffdescent",
        help="Diffusion sampling as optimization: compose, run and read any sampler of the family.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.command("sample")(sampling.sample)
    app.command("weights")(weighing.weights)
    app.command("grid")(grids.grid)
    app.command("explain")(explain.explain)
    app.command("landscape")(landscape.landscape)
    app.command("list")(listing.list_names)
    app.command("demo")(demo.demo)
    app.command("train")(train.train)
    app.command("conflicts")(conflicts.conflicts)
    app.command("evaluate")(evaluate.evaluate)
    app.command("compare")(compare.compare)
    app.command("study")(study.study)
    app.add_typer(peculiarity.app, name="peculiarity")
    app.add_typer(theory.app, name="theory")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a terminal without Unicode shows "?" for σ, and does not fail
    try:
        app()
    except UserError as error:
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2)
