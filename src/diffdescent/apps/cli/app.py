"""The ``diffdescent`` command: a table of commands within a boundary, where all that is no fault of
the program ends in one sentence."""

from __future__ import annotations

import io
import sys

from .boundary import boundary

NEEDS = "The command line needs Typer and Rich; install them with: pip install 'diffdescent[cli]'"


def main() -> None:
    """Entry point of the console script."""
    with boundary():
        try:
            import rich  # noqa: F401
            import typer  # noqa: F401
        except ImportError:
            sys.exit(NEEDS)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A terminal without Unicode shows "?" for σ, and does not fail.
                stream.reconfigure(errors="replace")
        from .commands import program

        program()()
