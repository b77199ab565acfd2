"""A button whose work is checked first, and then runs with few outputs.

For each output that an event leaves as it is, Gradio makes the component anew, at every message. So
the sentences next to the controls belong to an event of their own, which comes first, and what
streams previews writes only what moves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

CHECK: dict[str, Any] = {
    "concurrency_id": "check", "concurrency_limit": 4, "show_progress": "hidden"
}  # fmt: skip
"""What is wrong is said while another visitor's work goes on."""
WORK: dict[str, Any] = {
    "concurrency_id": "work", "concurrency_limit": 1, "show_progress": "hidden"
}  # fmt: skip
"""One visitor's work at a time; the others wait for their turn."""
KEPT_SECONDS = 1800
"""Work is forgotten so long after its visitor's last sign of life."""


def kept_work() -> gr.State:
    """The place of what the check has prepared."""
    return gr.State(None, time_to_live=KEPT_SECONDS)


def checked_work(
    event: Callable[..., Any],
    check: Callable[..., Any],
    inputs: Sequence[Any],
    job: gr.State,
    sentences: Sequence[Any],
    work: Callable[[Any], Iterator[list[str]]],
    moving: Sequence[Any],
) -> list[Any]:
    """On ``event``: ``check(*inputs)`` gives the job, None for bad input, and the ``sentences``;
    then ``work(job)`` writes the ``moving`` outputs. Both events, to be cancelled."""
    first = event(check, list(inputs), [job, *sentences], **CHECK)
    return [first, first.success(working(work), [job], list(moving), **WORK)]


def working(work: Callable[[Any], Iterator[list[str]]]) -> Callable[[Any], Iterator[list[str]]]:
    """``work`` that does nothing where there is no job."""

    def run(job: Any) -> Iterator[list[str]]:
        if job is not None:
            yield from work(job)

    return run
