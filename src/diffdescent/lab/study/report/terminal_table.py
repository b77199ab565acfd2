"""The ranked table in the terminal."""

from __future__ import annotations

from typing import Any

from diffdescent.base.words import counted

from ..gather import Results
from ..summary import metrics_in
from .ranking import metric_head, ranked_table

LESS_NEEDED = (
    "FLOPs/image",
    "s/image",
    "Steps",
    "Evaluations",
    "Behind the best",
    "Rank",
)
"""What a narrow terminal leaves out first, in this order: rows are in the order of their rank, and
a budget is nearly its evaluations. Then go the further scores; what tells rows apart and the first
score, stay the longest."""


def terminal(results: Results, most: int | None = None) -> Any:
    """The ranked table for a Rich console, at most the ``most`` best of each budget.

    Args:
        results: of a study.
        most: how many of the best of each budget; None: all.

    Returns:
        A Rich table.
    """
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    table = ranked_table(results)
    config = results.study.config
    named = config.title.endswith(f" {config.model}")
    title = config.title if named else f"{config.title}: {config.model}"
    shown = RichTable(
        title=f"{title}, {counted(config.n, 'image')} a cell",
        caption=(
            "bold: the best of its budget, and what does not differ from it at 5 % with all"
            " comparisons taken together (Holm); each paired 95 % interval is of one alone"
        ),
        box=box.SIMPLE_HEAD,
    )
    for column in table.columns:
        shown.add_column(column.title, justify="right" if column.number else "left")
    further = [metric_head(m) for m in metrics_in(results.lines)[:0:-1]]
    shown.less_needed = (*LESS_NEEDED, *further, "Grid")  # type: ignore[attr-defined]
    before, place = None, 0
    left_out = 0
    for row in table.rows:
        if before != row[0].text:
            place = 0
            if before is not None:
                shown.add_section()
        before, place = row[0].text, place + 1
        if most is not None and place > most:
            left_out += 1
            continue
        shown.add_row(*(Text(entry.text, style="bold" if entry.best else "") for entry in row))
    if left_out:
        shown.caption = f"{shown.caption}; {left_out} more in the report"
    return shown
