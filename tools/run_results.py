"""Run the studies of ``docs/results`` again, as after a network was trained anew.

    python tools/run_results.py --train cifar10-train.zip --test cifar10-test.zip --out runs/results

``--only gamma beta`` runs some of them, ``--jobs 2`` two at a time, each on one thread. A study
that was stopped goes on; its table and its paired differences then replace those in
``docs/results`` (of the calibrated samplers also for how many noises they are the nearer ones), and
``make verdicts`` says which statements of the pages no longer hold.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffdescent.base.files import write_atomically

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
NEARER = ROOT / "docs" / "tables" / "calibrated-nearer.csv"


@dataclass(frozen=True)
class Run:
    """How a study is run: images a cell, and what else differs from its file; ``test``: against the
    test images, in float32."""

    n: int
    changes: tuple[str, ...] = ()
    test: bool = False

    def words(self, images: Path) -> list[str]:
        """The options of ``diffdescent study``."""
        width = ["micro_batch=32", "batch_size=64"]
        fast = ["dtype=bf16", "micro_batch=64", "batch_size=128"]
        sets = [*(width if self.test else fast), *self.changes]
        return [
            "--n", str(self.n), "--reference", str(images),
            *(word for one in sets for word in ("--set", one)),
        ]  # fmt: skip


FIFTY = ("steps=50",)
RUNS = {
    "calibrated-distance": Run(384, test=True),
    "schedules": Run(512),
    "calibrated": Run(2048, test=True),
    "samplers-gradient-estimation": Run(256),
    "gamma": Run(256),
    "beta": Run(256, ("steps=[10,25,50,100]", "parameters.beta=[-0.8,-0.3,0,0.2]")),
    "cost": Run(128),
    "samplers-momentum": Run(
        128, ("blocks.0.steps=[50]", "blocks.1.steps=[50]", "blocks.2.steps=[250]")
    ),
    "pxp-table-1": Run(256, FIFTY),
    "pxp-table-2": Run(256, FIFTY),
    "pxp-table-4": Run(256, FIFTY),
    "pxp-table-5": Run(256, FIFTY),
    "pxp-table-6": Run(256, FIFTY),
    "pxp-table-8": Run(128, FIFTY),
    "pxp-table-9": Run(256, FIFTY),
    "guidance-scale": Run(500),
}
"""What costs least, or is read most, first."""


def run(name: str, images: Path, out: Path) -> tuple[bool, str]:
    """Run or finish a study and keep its tables; whether that went well, and what to say."""
    folder = out / name
    words = [
        sys.executable, "-m", "diffdescent", "study", str(ROOT / "studies" / f"{name}.yaml"),
        *RUNS[name].words(images), "--out", str(folder), "--quiet",
    ]  # fmt: skip
    ended = subprocess.run(
        words, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if ended.returncode:
        return False, f"{name}: exit {ended.returncode}\n{ended.stderr[-2000:]}"
    write_atomically(RESULTS / "paired" / f"{name}.csv", (folder / "paired.csv").read_bytes())
    write_atomically(RESULTS / f"{name}.csv", (folder / "table.csv").read_bytes())
    return True, f"{name}: in docs/results"


def nearer(name: str, folder: Path) -> None:
    """Put into :data:`NEARER` for how many noises of a finished study each calibrated sampler is
    nearer to the model's own solution than the fixed one of as many evaluations."""
    cells: list[dict[str, Any]] = json.loads((folder / "study.json").read_text("utf-8"))["cells"]
    found = [row for row in csv.DictReader(NEARER.open()) if row["study"] != name]
    for own in cells:
        if not own["sampler"].startswith("calibrated"):
            continue
        fixed = next(c for c in cells if c["asked"] == own["asked"] and c is not own)
        less = _squares(folder, own) < _squares(folder, fixed)
        row = {"study": name, "nfe": own["asked"], "fixed": fixed["sampler"]}
        found.append({**row, "nearer": int(less.sum()), "n": less.size, "share": less.mean()})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(found[-1]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    write_atomically(NEARER, text.getvalue().encode())


def _squares(folder: Path, cell: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    shards = sorted((folder / "shards" / cell["key"]).glob("*.npz"))
    return np.concatenate([np.load(shard)["own_squares"] for shard in shards])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True, help="CIFAR-10's training images")
    parser.add_argument("--test", type=Path, required=True, help="CIFAR-10's test images")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS))
    parser.add_argument("--jobs", type=int, default=1, help="studies at a time")
    options = parser.parse_args()
    well = True
    with ThreadPoolExecutor(options.jobs) as pool:
        ran = pool.map(
            lambda name: run(name, options.test if RUNS[name].test else options.train, options.out),
            options.only,
        )
        for name, (good, said) in zip(options.only, ran, strict=True):
            if good and name.startswith("calibrated"):
                nearer(name, options.out / name)
            print(said, flush=True)
            well = well and good
    sys.exit(not well)


if __name__ == "__main__":
    main()
