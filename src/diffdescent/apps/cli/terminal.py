"""Consoles that show text as it is, and tables that fit.

Names, paths and titles come from outside, and brackets, colons or addresses in them mean nothing.
A table is never split inside a word or a number: where the terminal is too narrow for all of its
columns some are left out, and a line says which.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

WIDE = 200
"""The columns of a file or a pipe, which have no width of their own."""
TEXT = 14
"""A column of text is at most this narrow, unless its words are longer."""
_NUMERIC = ("", *"0123456789-+−–[<≈")
NAMED = 4
"""A note names at most this many columns."""


class FittingConsole(Console):
    """A console whose tables fit: see :func:`fitted`."""

    def print(self, *objects: Any, **options: Any) -> None:
        """As Rich's, with tables that fit."""
        if not any(isinstance(one, Table) for one in objects):
            super().print(*objects, **options)
            return
        for one in objects:
            for part in fitted(one, self) if isinstance(one, Table) else [one]:
                super().print(part, **options)

    def on_broken_pipe(self) -> None:
        """The reader of the output has gone; Rich would end the process by a code of its own."""
        raise BrokenPipeError


def console(**options: Any) -> Console:
    """Rich's console without its markup and emoji codes, whose tables fit; ``options`` are its own.

    It is as wide as the terminal, or as ``COLUMNS`` says; a file or a pipe is wide.
    """
    plain = {"markup": False, "emoji": False, "highlight": False, **options}
    made = FittingConsole(**plain)
    wide_known = made.is_terminal or "COLUMNS" in os.environ or "width" in options
    if wide_known and made.width > 0:  # COLUMNS=0 says nothing
        return made
    return FittingConsole(width=WIDE, **plain)


def fitted(table: Table, where: Console) -> list[Any]:
    """The table with as many columns as fit, and a line about the others, if any.

    Columns whose names are in the table's attribute ``less_needed``, if it has one, go first, in
    its order; then the last ones. The first column always stays. Title and caption are lines of
    their own.
    """
    less_needed = [str(name) for name in getattr(table, "less_needed", ())]
    left_out: list[str] = []
    while len(table.columns) > 1 and _least(table, where) > where.width:
        names = [_plain(column.header) for column in table.columns]
        name = next((one for one in less_needed if one in names[1:]), names[-1])
        place = len(names) - 1 - names[::-1].index(name)
        left_out.append(name.split("\n")[0].strip())
        kept = [column for i, column in enumerate(table.columns) if i != place]
        table.columns = [replace(column, _index=i) for i, column in enumerate(kept)]
    _share(table, where)
    # With the table they would be wrapped to its width, whatever the terminal's.
    above, below = table.title, table.caption
    table.title = table.caption = None
    shown: list[Any] = [*([Text(_plain(above), style="italic")] if above else []), table]
    if left_out:
        named, more = ", ".join(left_out[:NAMED]), len(left_out) - NAMED
        rest = f" and {more} more" if more > 0 else ""
        shown.append(Text(f"Not shown in {where.width} columns: {named}{rest}.", style="dim"))
    return [*shown, *([Text(_plain(below), style="dim italic")] if below else [])]


def _least(table: Table, where: Console) -> int:
    """The least width of the table at which nothing is broken."""
    return sum(_need(column)[0] for column in table.columns) + _frame(table, where)


def _frame(table: Table, where: Console) -> int:
    """What lines and gaps take of the table's width."""
    widths = [replace(column, width=1) for column in table.columns]
    bare = Table(box=table.box, padding=table.padding, show_edge=table.show_edge)
    bare.pad_edge, bare.collapse_padding, bare.columns = (
        table.pad_edge,
        table.collapse_padding,
        widths,
    )
    return Measurement.get(where, where.options, bare).maximum - len(widths)


def _share(table: Table, where: Console) -> None:
    """Give each column its width: what it needs, and its share of what is left."""
    needs = [_need(column) for column in table.columns]
    free = where.width - _frame(table, where) - sum(least for least, _ in needs)
    wanted = sum(most - least for least, most in needs)
    share = min(1.0, max(0, free) / max(1, wanted))
    for column, (least, most) in zip(table.columns, needs, strict=True):
        column.width = least + int((most - least) * share)


def _need(column: Column) -> tuple[int, int]:
    """The width at which no word, and in a column of numbers no cell, is broken, and the width
    without any break."""
    cells = [line for cell in column._cells for line in _plain(cell).split("\n")]
    longest = max(map(cell_len, cells), default=0)
    words = [word for cell in cells for word in cell.split()]
    lines = _plain(column.header).split("\n")
    parts = lines if len(lines) > 1 else lines[0].split()
    header = max(map(cell_len, parts), default=0)
    number = column.justify == "right" or all(cell[:1] in _NUMERIC for cell in cells)
    least = longest if number else max(map(cell_len, [*words, " " * min(longest, TEXT)]), default=0)
    least = max(least, header)
    return least, max(least, longest, *map(cell_len, lines))


def _plain(cell: Any) -> str:
    """The text of a header or a cell."""
    return cell.plain if isinstance(cell, Text) else str(cell)
