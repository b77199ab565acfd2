"""The Markdown tables of the pages, made from the committed ones.

On a page ``<!-- table: NAME -->`` stands before each such table; ``python -m tools.verdicts``
compares it with what its maker gives, ``--write`` writes it there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tools.verdict_tables import Maker, Tables

from . import (
    calibration,
    conflicts,
    exact,
    guidance,
    known_truth,
    peculiarity,
    power,
    restore,
    same_seed,
    samplers,
    timings,
)

MAKERS: dict[str, Maker] = {
    **power.MAKERS,
    **samplers.MAKERS,
    **guidance.MAKERS,
    **peculiarity.MAKERS,
    **conflicts.MAKERS,
    **calibration.MAKERS,
    **restore.MAKERS,
    **same_seed.MAKERS,
    **known_truth.MAKERS,
    **exact.MAKERS,
    **timings.MAKERS,
}
"""By name, what gives the cells of a table, the first row its head."""
MARKED = re.compile(r"<!-- table: (\S+) -->\n\n((?:^\|.*\n)*)", re.MULTILINE)


def markdown(cells: list[list[str]]) -> str:
    """The cells as a Markdown table."""
    lines = ["|" + "".join(f" {cell} |" if cell else " |" for cell in row) for row in cells]
    lines.insert(1, "|" + " --- |" * len(cells[0]))
    return "\n".join(lines) + "\n"


def renewed(page: str, tables: Tables) -> str:
    """The page with its marked tables as they come out. KeyError for a name without a maker."""

    def made(found: re.Match[str]) -> str:
        # A table that is written for the first time stands in place of the empty line after it.
        after = "" if found[2] else "\n"
        return f"<!-- table: {found[1]} -->\n\n{markdown(MAKERS[found[1]](tables))}{after}"

    return MARKED.sub(made, page)


def differences(page: str, tables: Tables) -> Iterator[str]:
    """The lines of the marked tables that are not as they come out."""
    for found in MARKED.finditer(page):
        if found[1] not in MAKERS:
            yield f"table {found[1]!r} has no maker"
            continue
        try:
            made = markdown(MAKERS[found[1]](tables)).split("\n")
        except (ValueError, KeyError, IndexError) as error:
            yield f"table {found[1]!r} cannot be made: {error!r}"
            continue
        stands = found[2].split("\n")
        yield from (f"table {found[1]!r} should have {x!r}" for x in made if x not in stands)
        yield from (f"table {found[1]!r} should not have {x!r}" for x in stands if x not in made)
