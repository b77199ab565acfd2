"""The processes that ``--process`` names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from diffdescent.base.errors import unknown

if TYPE_CHECKING:
    from diffdescent.core.process import Process, Schedule

PROCESSES = ("linear", "scaled_linear", "cosine", "sigmoid", "ve", "flow")

ProcessName = Annotated[str, typer.Option(help=f"One of {', '.join(PROCESSES)}.")]


def process_named(name: str) -> Process:
    """The process called ``name`` on the command line. Raises :class:`UserError` for another
    name."""
    from diffdescent.core.process import VE, VP, Flow

    if name not in PROCESSES:
        raise unknown("process", name, PROCESSES)
    if name == "ve":
        return VE()
    return Flow() if name == "flow" else VP.named(cast("Schedule", name))
