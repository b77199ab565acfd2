"""Every table and verdict of the documentation, computed again from the committed tables.

    python -m tools.verdicts            # fails where the pages and the tables disagree
    python -m tools.verdicts --write    # writes the pages' tables and docs/verdicts.md

``docs/verdicts.yaml`` lists the statements that compare: where they stand, which rows of which
table they speak of, with which test, in which family, and what comes out; the numbers in them are
placeholders (:class:`tools.verdict_checks.Statement`). Markdown tables under a mark are made by
:mod:`tools.page_tables`.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from tools.page_tables import differences, renewed
from tools.paired_checks import unfit
from tools.verdict_checks import TESTS, UNTESTED, Statement, Verdict, decide, wrong
from tools.verdict_tables import Tables

ROOT = Path(__file__).parents[1]


def pages(docs: Path) -> Iterator[Path]:
    """The pages that may have marked tables."""
    yield from (docs.parent / "README.md", *sorted(docs.rglob("*.md")))


def check(docs: Path, tables: Tables | None = None) -> tuple[list[Verdict], list[str]]:
    """All verdicts, and what is wrong with the pages."""
    given = _statements((docs / "verdicts.yaml").read_text(encoding="utf-8"))
    tables = Tables(docs) if tables is None else tables
    read = functools.cache(lambda name: (docs / name).resolve().read_text(encoding="utf-8"))
    verdicts, found = [], []
    for group in given:
        common = {name: value for name, value in group.items() if name != "say"}
        for entry in group["say"]:
            one = Statement(**{**common, **entry})
            try:
                verdict = decide(one, tables)
            except (ValueError, KeyError, IndexError, OSError) as error:
                found.append(f"{one.page}: {one.text!r}: {error!r}")
                continue
            verdicts.append(verdict)
            found += [
                f"{one.page}: {verdict.text!r} {what}" for what in wrong(verdict, read(one.page))
            ]
    for page in pages(docs):
        text = page.read_text(encoding="utf-8")
        found += [f"{page.name}: {what}" for what in differences(text, tables)]
    for path in sorted((docs / "results" / "paired").glob("*.csv")):
        found += unfit(tables, path.name)
    return verdicts, found


@functools.cache
def _statements(text: str) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = yaml.safe_load(text)
    return groups


HEAD = """# Verdicts

Every statement of these pages that compares measured things, with the test that decides it, the
family within which its p-values are corrected (Holm), how many images it rests on, and what comes
out. `make verdicts` computes all of it again, with the pages' tables, from the committed tables and
fails where they disagree; this page is what it wrote. "Undecided" means that 5 % is not reached
within the family, which is not equality.

Without any table kept here are some times ([measurements](measurements.md),
[training](training.md)), single runs that are looked at ([theory](theory.md),
[landscape](landscape.md)), and the networks' [cards](cards/cifar10.md). They say what was seen
there, not what was tested.

| page | statement | test | family (tests) | n | outcome | p, corrected |
| --- | --- | --- | --- | --- | --- | --- |
"""


def written(verdicts: Sequence[Verdict]) -> str:
    """``docs/verdicts.md``."""
    lines = []
    for one in verdicts:
        said = one.statement
        text = re.sub(r"\s+", " ", one.text).strip().replace("|", "\\|").replace("**", "")
        text = re.sub(r"\]\([^)]*\)", "]", text).lstrip("# ")
        page = said.page.removeprefix("../")
        link = f"[{page}]({said.page})" if not said.page.startswith("..") else page
        start = f"| {link} | {text} | {TESTS[said.test]} |"
        if said.test in UNTESTED:
            lines.append(f"{start} – | {one.n} | – | – |")
            continue
        called = said.called or ", ".join(str(v) for v in said.family.values()) or "the table"
        called = called.replace("|", "\\|")
        outcome = ", ".join(f"{k} {name}" for name, k in sorted(one.counts.items()))
        lines.append(f"{start} {called} ({one.tests}) | {one.n} | {outcome} | {_range(one.ps)} |")
    return HEAD + "\n".join(lines) + "\n"


def _range(ps: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(_p(p) for p in (min(ps), max(ps))))


def _p(p: float) -> str:
    return "< .0001" if p < 1e-4 else f"{p:.2g}"


def write(docs: Path) -> None:
    """Make the pages' tables anew, and ``docs/verdicts.md``."""
    tables = Tables(docs)
    for page in pages(docs):
        text = page.read_text(encoding="utf-8")
        if (made := renewed(text, tables)) != text:
            page.write_text(made, encoding="utf-8")
    (docs / "verdicts.md").write_text(written(check(docs)[0]), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Compute the documentation's verdicts again.")
    parser.add_argument("--write", action="store_true", help="write tables and docs/verdicts.md")
    docs = ROOT / "docs"
    if parser.parse_args().write:
        write(docs)
    verdicts, found = check(docs)
    if not found and (docs / "verdicts.md").read_text(encoding="utf-8") != written(verdicts):
        found = ["docs/verdicts.md is not what comes out; run: python -m tools.verdicts --write"]
    print("\n".join(found) or f"{len(verdicts)} statements are as their tables say.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
