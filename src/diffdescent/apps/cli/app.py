"""The ``diffdescent`` command: a table of commands, and bad input as one sentence with exit code
2."""

from __future__ import annotations

import io
import sys

NEEDS = "The command line needs Typer and Rich; install them with: pip install 'diffdescent[cli]'"


def main() -> None:
    """Entry point of the console script."""
    try:
        import rich  # noqa: F401
        import typer
    except ImportError:
        sys.exit(NEEDS)
    from diffdescent.base.errors import UserError

    from .commands import program

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal without Unicode shows "?" for σ, and does not fail.
            stream.reconfigure(errors="replace")
    try:
        program()()
    except UserError as error:
        typer.secho(f"Error: {error}", fg=typer.colors.RED, err=True)
        sys.exit(2)
