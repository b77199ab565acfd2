"""The trial: bad input, kills, full disks, two processes at once. ``python -m tests.trial``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Run the parts that are asked for, print their counts; exit code 1 where one is violated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="Kinds of cases, with commas between them.")
    parser.add_argument("--match", help="Only commands that have this text.")
    parser.add_argument("--every", type=int, default=1, help="Only one case of so many.")
    parser.add_argument("--kills", type=int, help="Kill at so many moments of each command.")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["COLUMNS"] = "200"
    from .bad_input import run_cases
    from .cases import every_case
    from .judge import warm_up
    from .materials import write_materials

    with tempfile.TemporaryDirectory(prefix="trial-") as folder:
        warm_up()
        material = Path(folder) / "material"
        write_materials(material)
        if asked.kills:
            from .interrupted import run_all

            happened, wrong = run_all(
                material, Path(folder), asked.kills, asked.only.split(",") if asked.only else None
            )
            for what, count in happened.items():
                print(f"{what}: {count}")
            print(f"interrupted: {happened.total()} cases, {len(wrong)} violations")
            sys.exit(1 if wrong else 0)
        kinds = None if asked.only is None else set(asked.only.split(","))
        cases = (
            case
            for i, case in enumerate(every_case())
            if (case.kind == "good" or i % asked.every == 0)
            and (kinds is None or case.kind in kinds)
            and (asked.match is None or asked.match in case.title)
        )
        counts = run_cases(cases, material, Path(folder) / "work")
        counts.print()
    sys.exit(1 if counts.wrong else 0)


if __name__ == "__main__":
    main()
