"""The ranked table in the terminal."""

from __future__ import annotations

from typing import Any

from ..gather import Results
from .ranking import ranked_table

# --- terminal


def terminal(results: Results) -> Any:
    """The ranked table for a Rich console."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    table = ranked_table(results)
    config = results.study.config
    shown = RichTable(
        title=f"{config.title}: {config.model}, {config.n} images a cell",
        caption=(
            "bold: the best of its budget, and what does not differ from it (paired 95 % intervals)"
        ),
        box=box.SIMPLE_HEAD,
    )
    for column in table.columns:
        shown.add_column(
            column.title, justify="right" if column.number else "left", overflow="fold"
        )
    before = None
    for row in table.rows:
        if before not in (None, row[0].text):
            shown.add_section()
        before = row[0].text
        shown.add_row(*(Text(entry.text, style="bold" if entry.best else "") for entry in row))
    return shown
