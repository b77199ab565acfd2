"""Bad input over every command and option: each is refused in one sentence, and changes nothing."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from .cases import Case
from .commands import made
from .judge import Ended, attempt, command, faults, tree
from .passed import Passed


def run_cases(
    cases: Iterable[Case], material: Path, work: Path, passed: Passed, show: bool = True
) -> Counts:
    """Run every case in a copy of the material that is made anew whenever a case changed it."""
    counts = Counts()
    folder = fresh(material, work)
    whole = tree(folder)
    for case in cases:
        if (before := passed.outcome(case.key)) is not None:
            counts.add(case, before == "refused", [])
            continue
        if case.prepare is not None:
            case.prepare(folder)
        ended = attempt(command(list(case.words)), folder)
        wrong = faults(ended, case.expect) if case.kind != "good" else _works(ended)
        counts.add(case, ended.code == 2, wrong)
        counts.slowest = max(counts.slowest, ended.seconds)
        if not wrong:
            passed.note(case.key, "refused" if ended.code == 2 else "worked")
        if wrong and show:
            print(f"✗ {case.title}\n    {'; '.join(wrong)}\n    {_last(ended)}", flush=True)
        if case.prepare is not None or ended.changed or made(folder) or tree(folder) != whole:
            folder = fresh(material, work)
            whole = tree(folder)
    return counts


def _works(ended: Ended) -> list[str]:
    return [] if ended.code == 0 else [f"exit code {ended.code} of a command that should work"]


def _last(ended: Ended) -> str:
    lines = [line for line in ended.err.splitlines() if line.strip()]
    return " ⏎ ".join(lines[-2:])[:400]


def fresh(material: Path, work: Path) -> Path:
    """A copy of the material to spoil."""
    folder = work / "here"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(material, folder, symlinks=True, ignore=lambda *_: ["fifo"])
    os.mkfifo(folder / "fifo")
    return folder


class Counts:
    """Cases by kind, and what was wrong with some of them."""

    def __init__(self) -> None:
        self.cases: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.wrong: list[tuple[Case, list[str]]] = []
        self.slowest = 0.0

    def add(self, case: Case, refused: bool, wrong: list[str]) -> None:
        self.cases[case.kind] += 1
        self.refused[case.kind] += refused
        if wrong:
            self.wrong.append((case, wrong))

    def print(self) -> None:
        for kind, count in self.cases.items():
            bad = sum(case.kind == kind for case, _ in self.wrong)
            print(f"{kind:>10}: {count} cases, {self.refused[kind]} refused, {bad} violations")
        total = self.cases.total()
        print(
            f"bad input: {total} cases, {len(self.wrong)} violations; the slowest took"
            f" {self.slowest:.1f} s"
        )
        sys.stdout.flush()
