"""Cut a small slice of the recorded reference trajectories for ``tests/data``.

    python tools/slice_golden.py SOURCE tests/data

Every method is represented, and in it every combination of options that takes another path through
the code; the slice stays below 3 MB. Cases keep their names, and all their arrays except that the
states and gradients along the way are those of the first sample alone (the final state is whole),
so the same tests run on the slice and on the source.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from diffdescent.base.files import pack_arrays, write_atomically

LIMIT = 3_000_000
QUOTA = {
    "dpm_solver": 11,
    "unipc": 8,
    "deis": 16,
    "diffusers": 30,
    "edm": 4,
    "k_diffusion": 8,
    "momentum": 3,
    "pxp": 5,
    "pxp_single": 2,
}
"""At most so many cases of a method (others: 5), the shortest of each kind first."""


def kind(case: dict[str, Any]) -> str:
    """What sort of run a case is: its id without the step count and other numbers that change no
    path."""
    if case["method"] == "pxp_single":
        return str([case["options"][k] for k in ("any_zero_norm_g_cls", "any_t0")])
    if case["method"] == "pxp":
        return str(case["options"]["cls"])
    return re.sub(r"_N\d+|_gridf64|_eta\d$|_o\d", "", case["id"])


def chosen(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The shortest case of each kind of each method, thinned evenly to the method's quota."""
    groups: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for case in sorted(cases, key=lambda c: c.get("nfe", 0)):
        groups[case["method"]].setdefault(kind(case), case)
    picked = []
    for method, kinds in groups.items():
        found = [kinds[k] for k in sorted(kinds)]
        count = min(len(found), QUOTA.get(method, 5))
        picked += [found[i * len(found) // count] for i in range(count)]
    return picked


def write(source: Path, target: Path) -> int:
    """Write the slice; its size in bytes."""
    target.mkdir(parents=True, exist_ok=True)
    index = json.loads((source / "index.json").read_text())
    index["cases"] = chosen(index["cases"])
    files: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for case in index["cases"]:
        files[case["file"]].append(case)
    for file, cases in files.items():
        with np.load(source / file) as data:
            if cases[0]["method"] == "pxp_single":
                arrays = stacked(data, cases)
            else:
                arrays = {
                    f"{c['id']}/{name}": data[f"{c['id']}/{name}"]
                    for c in cases
                    for name in c["arrays"]
                }
                for case in cases:
                    thin(case, arrays)
        write_atomically(target / file, pack_arrays(arrays, compressed=True))
    for name in ("common.npz", "inception.npz", "inception.json"):
        shutil.copyfile(source / name, target / name)
    index["n_cases"] = len(index["cases"])
    (target / "index.json").write_text(json.dumps(index, indent=0) + "\n")
    return sum(path.stat().st_size for path in target.iterdir())


def thin(case: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Keep the states and gradients along the way of the first sample alone."""
    for name in (f"{case['id']}/x", f"{case['id']}/cls_grad"):
        if name in arrays:
            arrays[name] = arrays[name][:, :1]
            case["x_samples"] = 1


def stacked(data: Any, cases: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The rows of a stacked archive that belong to ``cases``, which are renumbered.

    The ``mlt_*`` arrays hold only the rows listed in ``mlt_row``.
    """
    rows = [case["row"] for case in cases]
    within = [i for i, row in enumerate(data["mlt_row"]) if row in rows]
    arrays = {name: data[name][within if name.startswith("mlt_") else rows] for name in data}
    arrays["mlt_row"] = np.array([rows.index(row) for row in arrays["mlt_row"]], dtype=np.int32)
    for new, case in enumerate(cases):
        case["row"] = new
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    size = write(arguments.source, arguments.target)
    if size > LIMIT:
        raise SystemExit(f"The slice takes {size} bytes, more than {LIMIT}; lower a quota.")
    print(f"{size} bytes in {arguments.target}")


if __name__ == "__main__":
    main()
