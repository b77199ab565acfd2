"""The trial: bad input, kills, full disks, damage, two processes at once; it prints its counts.

``make trial`` runs all of it; ``--short`` is what is among the tests.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Run the parts that are asked for; exit code 1 where anything is violated."""
    asked = _arguments()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["COLUMNS"] = "200"
    from .judge import warm_up
    from .materials import write_materials

    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="trial-") as folder:
        warm_up()
        material = Path(folder) / "material"
        write_materials(material, made=not asked.short)
        wrong = [part(asked, material, Path(folder)) for part in _parts(asked)]
    print(f"the trial: {sum(wrong)} violations in all, {time.monotonic() - begun:.0f} s")
    sys.exit(1 if sum(wrong) else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.trial", description=__doc__)
    parser.add_argument("--short", action="store_true", help="Some of each, in half a minute.")
    parser.add_argument(
        "--parts", default="collisions,beginnings,calls,kills,input", help="Which of the parts."
    )
    parser.add_argument("--only", help="Kinds of bad input, or commands that are killed.")
    parser.add_argument("--match", help="Only bad input with this text in the command.")
    parser.add_argument("--every", type=int, default=1, help="Only one bad input of so many.")
    parser.add_argument(
        "--passed", type=Path, help="A file of what passed: a trial goes on from it."
    )
    parser.add_argument(
        "--earlier",
        action="store_true",
        help="What passed before the program's sources changed is not run again, either.",
    )
    parser.add_argument("--kills", type=int, default=10, help="Moments at which each is killed.")
    return parser.parse_args()


def _parts(asked: argparse.Namespace) -> list:  # type: ignore[type-arg]
    known = {
        "collisions": _collisions,
        "beginnings": _beginnings,
        "calls": _calls,
        "kills": _kills,
        "input": _input,
    }
    return [known[name] for name in asked.parts.split(",")]


def _collisions(asked: argparse.Namespace, material: Path, folder: Path) -> int:
    from .collisions import collide

    writes = 200 if asked.short else 800
    failed, torn = collide(folder / "collisions", writes)
    print(f"equal process numbers: {writes} writes, {failed} failed, {torn} torn", flush=True)
    return failed + torn


def _beginnings(asked: argparse.Namespace, material: Path, folder: Path) -> int:
    from .beginnings import begin

    counts, wrong = begin(material, 3 if asked.short else 40)
    for what in wrong:
        print(f"✗ {what}", flush=True)
    happened = ", ".join(f"{count} {what}" for what, count in counts.items())
    print(f"Ctrl-C from the first moment: {counts.total()} moments, {happened}", flush=True)
    return len(wrong)


def _calls(asked: argparse.Namespace, material: Path, folder: Path) -> int:
    from .calls import call_all
    from .passed import Passed

    every = 83 if asked.short else 4 * asked.every
    passed = Passed(asked.passed, asked.earlier)
    counts, wrong = call_all(material, folder / "calls", every, passed, asked.match)
    print(
        f"calls from Python: {counts.total()} cases, {counts['refused']} refused, {wrong}"
        " violations",
        flush=True,
    )
    return wrong


def _kills(asked: argparse.Namespace, material: Path, folder: Path) -> int:
    from .interrupted import run_all
    from .passed import Passed

    only = asked.only.split(",") if asked.only else None
    moments = 2 if asked.short else asked.kills
    passed = Passed(asked.passed, asked.earlier)
    counts, wrong = run_all(material, folder, moments, passed, ["sample"] if asked.short else only)
    for what, count in counts.items():
        print(f"{what:>28}: {count}")
    print(f"interrupted: {counts.total()} cases, {len(wrong)} violations", flush=True)
    return len(wrong)


def _input(asked: argparse.Namespace, material: Path, folder: Path) -> int:
    from .bad_input import run_cases
    from .cases import every_case
    from .damage import write_hostile
    from .passed import Passed

    write_hostile(material)
    kinds = {"options", "texts", "files", "parts", "arrays"} if asked.short else None
    if asked.only is not None:
        kinds = set(asked.only.split(","))
    every = 41 if asked.short else asked.every
    cases = (
        case
        for i, case in enumerate(every_case())
        if (i % every == 0 or (case.kind == "good" and not asked.short))
        and (kinds is None or case.kind in kinds)
        and (asked.match is None or asked.match in case.title)
    )
    counts = run_cases(cases, material, folder / "work", Passed(asked.passed, asked.earlier))
    counts.print()
    return len(counts.wrong)


if __name__ == "__main__":
    main()
