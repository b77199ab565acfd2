"""Every verdict of the documentation, computed again from the committed tables.

    python -m tools.verdicts            # fails where text and table disagree
    python -m tools.verdicts --write    # and writes docs/verdicts.md

``docs/verdicts.yaml`` lists the statements that compare: where they stand, which rows of which
table they speak of, with which test, in which family, and what comes out. Holm's correction runs
over the family. ``blocks`` are sections whose Markdown tables and intervals must be in a table.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from tools.verdict_checks import (
    TESTS,
    Statement,
    Tables,
    Verdict,
    decide,
    numbers_of,
    stands,
    wrong,
)
from tools.verdict_pages import cells, loose, section

ROOT = Path(__file__).parents[1]


def _published(name: str) -> list[float]:
    """The numbers of the paper's tables that a study file lists."""
    path = ROOT / "studies" / f"{name}.yaml"
    if not path.is_file():
        return []
    tables = yaml.safe_load(path.read_text(encoding="utf-8")).get("published", [])
    return [v for t in tables for row in t["rows"] for v in row["values"] if v is not None]


def check(docs: Path) -> tuple[list[Verdict], list[str]]:
    """All verdicts, and what is wrong with the pages."""
    given = yaml.safe_load((docs / "verdicts.yaml").read_text(encoding="utf-8"))
    tables, pages = (
        Tables(docs),
        functools.cache(lambda name: (docs / name).resolve().read_text(encoding="utf-8")),
    )
    verdicts, found = [], []
    for group in given["statements"]:
        common = {name: value for name, value in group.items() if name != "say"}
        for entry in group["say"]:
            one = Statement(**{**common, **entry})
            try:
                verdict = decide(one, tables)
            except (ValueError, KeyError, OSError) as error:
                found.append(f"{one.page}: {one.text!r}: {error}")
                continue
            verdicts.append(verdict)
            found += [
                f"{one.page}: {one.text!r} {what}" for what in wrong(one, verdict, pages(one.page))
            ]
    for block in given["blocks"]:
        rows = [row for name in block["tables"] for row in tables.read(name)]
        known = [*block.get("given", ()), *_published(Path(block["tables"][0]).stem)]
        text = section(pages(block["page"]), block["section"])
        found += [
            f"{block['page']}, {block['section']!r}: {what} is not in {', '.join(block['tables'])}"
            for what in loose(text, rows, known)
        ]
    for spec in given["cells"]:
        text = section(pages(spec["page"]), spec["section"])
        found += [
            f"{spec['page']}, {spec['section']!r}: {what} is not its row's in {spec['table']}"
            for what in cells(text, spec, tables)
        ]
    for path in sorted((docs / "results" / "paired").glob("*.csv")):
        values = list(numbers_of(tables.read(f"results/{path.name}")))
        for row in tables.read(f"results/paired/{path.name}"):
            if not all(stands(row[side], values) for side in ("a_value", "b_value")):
                found.append(f"{path.name}: {row} has values that the study's table has not")
            a, b, gap, low, high = (
                float(row[name]) for name in ("a_value", "b_value", "difference", "low", "high")
            )
            rounding = 0.002 * max(abs(a), abs(b)) + 1e-4
            if abs(abs(a - b) - abs(gap)) > rounding or not low <= gap <= high:
                found.append(f"{path.name}: {row} does not fit together")
    return verdicts, found


HEAD = """# Verdicts

Every statement of these pages that compares measured things, with the test that decides it, the
family within which its p-values are corrected (Holm), how many images it rests on, and what comes
out. `make verdicts` computes all of it again from the committed tables and fails where text and
table disagree; this page is what it wrote. "Undecided" means that 5 % is not reached within the
family, which is not equality.

Pages that compare without a table kept here, each number with its command: times and exact errors
([measurements](measurements.md)), the closed form's and the ablations' rows of
[calibration](calibration.md), single runs that are looked at ([theory](theory.md),
[landscape](landscape.md)), constrained runs ([constraints](constraints.md)), the networks'
[cards](cards/cifar10.md). They say what was seen there, not what was tested.

| page | statement | test | family (tests) | n | outcome | p, corrected |
| --- | --- | --- | --- | --- | --- | --- |
"""


def written(verdicts: Sequence[Verdict]) -> str:
    """``docs/verdicts.md``."""
    lines = []
    for one in verdicts:
        said = one.statement
        text = re.sub(r"\s+", " ", said.text).strip().replace("|", "\\|").replace("**", "")
        text = re.sub(r"\]\([^)]*\)", "]", text)
        called = said.called or ", ".join(str(v) for v in said.family.values()) or "the table"
        outcome = ", ".join(f"{k} {name}" for name, k in sorted(one.counts.items()))
        page = said.page.removeprefix("../")
        link = f"[{page}]({said.page})" if not said.page.startswith("..") else page
        called = called.replace("|", "\\|")
        lines.append(
            f"| {link} | {text} | {TESTS[said.test]} | {called} ({one.tests}) | {one.n} |"
            f" {outcome} | {_range(one.ps)} |"
            if said.test != "none"
            else f"| {link} | {text} | {TESTS[said.test]} | – | {one.n} | – | – |"
        )
    return HEAD + "\n".join(lines) + "\n"


def _range(ps: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(_p(p) for p in (min(ps), max(ps))))


def _p(p: float) -> str:
    return "< .0001" if p < 1e-4 else f"{p:.2g}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compute the documentation's verdicts again.")
    parser.add_argument("--write", action="store_true", help="write docs/verdicts.md")
    docs = ROOT / "docs"
    verdicts, found = check(docs)
    text, path = written(verdicts), docs / "verdicts.md"
    if parser.parse_args().write:
        path.write_text(text, encoding="utf-8")
    elif not found and path.read_text(encoding="utf-8") != text:
        found = ["docs/verdicts.md is not what comes out; run: python -m tools.verdicts --write"]
    print("\n".join(found) or f"{len(verdicts)} statements are as their tables say.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
