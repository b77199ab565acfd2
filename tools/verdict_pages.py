"""Sections of a page against tables: intervals, Markdown tables cell by cell, sizes in headings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tools.verdict_checks import NUMBER, Row, Tables, numbers_of, plain, shares, stands

INTERVAL = re.compile(r"([-−+]?\d*\.?\d+) (?:% |points )?\[([-−+]?\d*\.?\d+), ([-−+]?\d*\.?\d+)\]")


def section(page: str, heading: str) -> str:
    """The part of a page under the heading that begins so."""
    lines = page.split("\n")
    begin = next((i for i, line in enumerate(lines) if line.startswith(heading)), None)
    if begin is None:
        raise ValueError(f"has no heading {heading!r}")
    depth = len(heading) - len(heading.lstrip("#"))
    ends = (i for i in range(begin + 1, len(lines)) if re.match(rf"#{{1,{depth}}} ", lines[i]))
    return "\n".join(lines[begin : next(ends, len(lines))])


def loose(text: str, rows: Sequence[Row], given: Sequence[float]) -> Iterator[str]:
    """Intervals that no row has, numbers in Markdown tables (but for the first column) that are
    nowhere in the rows, and a size in the heading that is not theirs."""
    by_row = [(*numbers_of([row]), *_halves(row)) for row in rows]
    every = [x for numbers in by_row for x in numbers] + [float(x) for x in given]
    flat = plain(text)
    for found in INTERVAL.finditer(flat):
        share = shares(flat[found.start() : found.end() + 12])
        if not any(all(stands(x, numbers, share) for x in found.groups()) for numbers in by_row):
            yield found.group()
    for line in (line for line in text.split("\n") if line.startswith("|")):
        entries = line.split("|", 2)[2]
        for token in NUMBER.findall(plain(INTERVAL.sub("", entries))):
            if not stands(token, every, shares(entries)):
                yield token
    size = re.search(r"N = ([\d,]+)", text.split("\n", 1)[0])
    known = {int(float(row["n"])) for row in rows if row.get("n")}
    if size and known and int(size.group(1).replace(",", "")) not in known:
        yield size.group()


def _halves(row: Row) -> Iterator[float]:
    """Half the length of each interval of a row, for what is printed as ±."""
    for name in row:
        if name.endswith("low") and row[name] and row.get(f"{name[:-3]}high"):
            yield (float(row[f"{name[:-3]}high"]) - float(row[name])) / 2


def cells(text: str, spec: Mapping[str, Any], tables: Tables) -> Iterator[str]:
    """Cells of a section's Markdown tables whose numbers are not those of their own row and column.

    ``rows`` says which rows of the table the first cell of a line means (a selection, or ``"*"``: a
    pattern with ``{}`` for the cell), ``columns`` which the header does; ``field`` is what is
    printed. A cell "a → b" is of two selections, the second with ``after`` in addition; ``nth`` is
    which of the section's tables is meant, all without it.
    """
    header: list[str] = []
    checked, at = 0, -1
    for line in text.split("\n"):
        if not line.startswith("|"):
            header = []
            continue
        entries = [_bare(entry) for entry in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not header:
            header, at = entries, at + 1
            continue
        if at != spec.get("nth", at):
            continue
        wanted = _row(spec["rows"], entries[0])
        if wanted is None:
            continue
        for name, more in spec["columns"].items():
            printed = entries[header.index(name)] if name in header else "–"
            values = [one.strip() for one in printed.split("→")]
            extra: tuple[Mapping[str, Any], ...] = ({}, spec.get("after", {}))
            for value, also in zip(values, extra, strict=False):
                token = NUMBER.search(value)
                if token is None:
                    continue
                found = tables.select(spec["table"], {**wanted, **more, **also})
                numbers = [float(row[spec.get("field", "value")]) for row in found]
                checked += 1
                if len(found) != 1 or not stands(token.group(), numbers, shares(value)):
                    yield f"{entries[0]}, {name}: {token.group()}"
    if not checked:
        yield "no cell at all"


def _bare(entry: str) -> str:
    return re.sub(r"[*`]", "", entry).replace("\\|", "|").replace("−", "-").strip()


def _row(rows: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    if name in rows:
        found: Mapping[str, Any] = rows[name]
        return found
    pattern = rows.get("*")
    if pattern is None or not re.match(r"-?[.\d]", name):
        return None
    number = name.split(" ")[0]
    return {key: str(value).replace("{}", number) for key, value in pattern.items()}
