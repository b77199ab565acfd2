"""Ten deliberate faults in the core, one at a time: do the tests notice each?

    python tools/mutation_check.py

Each fault is made in a scratch copy of the package, and the fast suites of the core run on it until
the first failure. Prints a line a fault; exit code 1 if one is not caught, or if its line is no
longer in the code.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SUITES = ("tests/unit/core", "tests/contract", "tests/order", "tests/parity", "tests/unit/run")


class Fault(NamedTuple):
    """``old`` becomes ``new`` in a file of the package."""

    what: str
    file: str
    old: str
    new: str


FAULTS = (
    Fault(
        "DDIM's x0-form goes to the wrong σ",
        "core/plan.py",
        "a = dst.sigma / src.sigma",
        "a = dst.sigma / (src.sigma + 1e-7)",
    ),
    Fault(
        "v read with the sign of σ turned",
        "core/predict.py",
        "Affine(a / n2, -s / n2), Affine(s / n2, a / n2)",
        "Affine(a / n2, s / n2), Affine(s / n2, a / n2)",
    ),
    Fault(
        "VP's time one step late",
        "core/process/vp.py",
        "x = np.arange(-1.0, len(self.betas))",
        "x = np.arange(0.0, len(self.betas) + 1)",
    ),
    Fault(
        "noise without the number of the draw",
        "core/noise.py",
        "word3 = (draw & 0xFFFF) | ((sample >> 32) & 0xFFFF) << 16",
        "word3 = ((sample >> 32) & 0xFFFF) << 16",
    ),
    Fault(
        "gradient estimation with the previous estimate added",
        "core/transforms/gradient_estimation.py",
        "moved = newest * (1 - gamma)",
        "moved = newest * (gamma - 1)",
    ),
    Fault(
        "momentum remembers too much",
        "core/transforms/momentum.py",
        "r.sub_(change, alpha=beta)",
        "r.sub_(change, alpha=beta * 1.01)",
    ),
    Fault(
        "the executor forgets the oldest kept evaluation",
        "core/executor/answer.py",
        "terms += [(c, h) for c, h in zip(out.evals[1:], history, strict=False) if c]",
        "terms += [(c, h) for c, h in zip(out.evals[1:3], history, strict=False) if c]",
    ),
    Fault(
        "an edited state does not move the base of its step",
        "core/executor/run.py",
        "self._base + (sample - self._current)",
        "self._base",
    ),
    Fault(
        "PixelAsParam projects where gradients agree",
        "core/transforms/projection.py",
        'conflicting = (raw if self.gate == "raw" else inner) < 0',
        'conflicting = (raw if self.gate == "raw" else inner) > 0',
    ),
    Fault(
        "the log-linear grid takes the index below",
        "core/grid/by_ratio.py",
        'index = np.searchsorted(table, ratios, side="right")',
        'index = np.searchsorted(table, ratios, side="right") - 1',
    ),
)


def caught(fault: Fault) -> bool | None:
    """Whether the suites fail on the fault; None where it cannot be made."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "src", Path(folder) / "src")
        path = Path(folder) / "src" / "diffdescent" / fault.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if text.count(fault.old) != 1:
            return None
        path.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-m", "not slow"]
        done = subprocess.run(
            [*command, "-n", str(os.cpu_count() or 1), "-p", "no:cacheprovider", *SUITES],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(Path(folder) / "src"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        # With workers -x ends in "interrupted", and a test module may already fail to be read.
        noticed = re.search(r"\d+ (failed|errors?)\b", done.stdout) is not None
        if done.returncode and not noticed:
            sys.exit(f"The suites could not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return noticed


def main() -> None:
    missed = 0
    for fault in FAULTS:
        found = caught(fault)
        missed += not found
        said = {True: "caught", False: "NOT CAUGHT", None: "its line is not in the code"}[found]
        print(f"{fault.what:<56} {fault.file:<42} {said}", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
