"""The committed tables below ``docs``: CSV files, registered studies, and the pages' own."""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tools.registered_tables import bundled, registered

Row = Mapping[str, str]
REGISTERED = "registered:"
"""Before the name of a registered study that stands for a table."""
BUNDLED = "bundled:"
"""Stands for what the bundled calibrated samplers' files say was measured."""
PAGE = "page:"
"""Before ``NAME.md#K``: the K-th Markdown table of a page."""
CELL = re.compile(r"([-−+]?[\d,]*\.?\d+)(?: %)?(?: (?:\[([^,]*), ([^]]*)\]|± ([\d.]+)))?")


class Tables:
    """The tables; all but the pages' are read once."""

    def __init__(self, docs: Path) -> None:
        self.docs = docs
        self._kept = functools.cache(self._made)

    def read(self, name: str) -> list[dict[str, str]]:
        """The rows of a table by its name."""
        return self._page(name) if name.startswith(PAGE) else self._kept(name)

    def _page(self, name: str) -> list[dict[str, str]]:
        page, _, number = name.removeprefix(PAGE).partition("#")
        text = (self.docs / page).resolve().read_text(encoding="utf-8")
        return list(_long(_markdown(text)[int(number) - 1]))

    def _made(self, name: str) -> list[dict[str, str]]:
        if name.startswith(REGISTERED):
            folder = self.docs.parent / "studies" / "registered"
            return registered(folder, name.removeprefix(REGISTERED))
        if name == BUNDLED:
            return bundled(self.docs.parent / "src" / "diffdescent" / "assets" / "calibrated")
        with (self.docs / name).resolve().open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def select(self, name: str, wanted: Mapping[str, Any]) -> list[Row]:
        """Rows whose columns are as wanted: a value, a list of values, a pattern with ``*``, all
        but one with ``!``."""
        return [row for row in self.read(name) if selected(row, wanted)]

    def one(self, table: str, /, **wanted: Any) -> Row:
        """The row that is as wanted. ValueError where it is not the only one."""
        return only(self.select(table, wanted))


def only(rows: Sequence[Row]) -> Row:
    """The one row. ValueError where there are more, or none."""
    if len(rows) != 1:
        raise ValueError(f"selects {len(rows)} rows where one was meant")
    return rows[0]


def selected(row: Row, wanted: Mapping[str, Any]) -> bool:
    """Whether a row's columns are as wanted."""
    return all(_matches(row.get(name, ""), value) for name, value in wanted.items())


def _matches(found: str, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return any(_matches(found, one) for one in wanted)
    text = str(wanted)
    if text.startswith("!"):
        return not _matches(found, text[1:])
    return found == text or ("*" in text and fnmatchcase(found, text.replace("[", "[[]")))


def _markdown(page: str) -> list[list[list[str]]]:
    """The Markdown tables of a page, as cells without marks."""
    blocks = re.findall(r"(?:^\|.*\n)+", page + "\n", flags=re.MULTILINE)
    return [
        [
            [
                re.sub(r"[*`]", "", cell).replace("\\|", "|").strip()
                for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]
            ]
            for line in block.strip().split("\n")
        ]
        for block in blocks
    ]


def _long(table: list[list[str]]) -> Iterator[dict[str, str]]:
    """A row for each cell but the first ones: row, column, text, and value, low and high."""
    head, row = table[0], ""
    for cells in table[2:]:
        row = cells[0] or row
        for column, text in zip(head[1:], cells[1:], strict=True):
            found = {"row": row, "column": column, "text": text}
            found |= dict(zip(head[1:], cells[1:], strict=True)) if len(head) > 2 else {}
            if match := CELL.match(text):
                value, low, high, half = match.groups()
                found["value"] = _plain(value)
                if half:
                    low = str(float(found["value"]) - float(half))
                    high = str(float(found["value"]) + float(half))
                    found["half"] = half
                if low:
                    found |= {"low": _plain(low), "high": _plain(high)}
            yield found


def _plain(number: str) -> str:
    return number.replace("−", "-").replace(",", "")


Maker = Callable[[Tables], list[list[str]]]
"""Gives the cells of a page's table, the first row its head."""
