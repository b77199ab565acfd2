"""Put other weights in place of those of the bundled `cifar10`, and make anew what is measured or
drawn with them: the calibrated samplers, the figures of its card, the README's table and pictures.

    python tools/exchange.py MODEL --train cifar10-train.zip --test cifar10-test.zip --out exchange

MODEL is a folder as ``diffdescent train --half`` leaves it. Two cores take about an hour. What was
stopped goes on: a step that is done has a file NAME.done in ``--out``, beside the log of each. The
card's own sentences stay to be written, and ``docs/results`` is run by ``tools/run_results.py``.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from diffdescent.base.files import write_atomically
from diffdescent.base.hashes import files_hash

ROOT = Path(__file__).parents[1]
ASSETS, DOCS = ROOT / "src" / "diffdescent" / "assets", ROOT / "docs"
README = (
    "DDIMScheduler; DPMSolverMultistepScheduler; UniPCMultistepScheduler; ge;"
    " ge @ exponential(start=80, last=0.3); calibrated('cifar10-cfg4-5')"
)


@dataclass(frozen=True)
class Step:
    """Commands, run in order in the folder of the exchange, and where what they write belongs, by
    its name there."""

    name: str
    commands: Sequence[Sequence[str]]
    places: dict[str, Path] = field(default_factory=dict)

    def run(self, out: Path) -> bool:
        """Run what is not done; whether it is done now."""
        done, log = out / f"{self.name}.done", out / f"{self.name}.log"
        if not done.exists():
            with log.open("a", encoding="utf-8") as lines:
                for words in self.commands:
                    ended = subprocess.run(
                        [sys.executable, *words],
                        cwd=out,
                        env={**os.environ, "OMP_NUM_THREADS": "1"},
                        stdout=lines,
                        stderr=subprocess.STDOUT,
                    )
                    if ended.returncode:
                        print(f"{self.name}: exit {ended.returncode}, see {log}", flush=True)
                        return False
            for source, place in self.places.items():
                for path in out.glob(source):
                    target = place / path.name if place.is_dir() else place
                    write_atomically(target, path.read_bytes())
            done.touch()
        print(f"{self.name}: done", flush=True)
        return True


def fit(*words: str) -> list[str]:
    """A call of ``tools/calibrate_bundled.py``."""
    return [str(ROOT / "tools" / "calibrate_bundled.py"), "--out", "calibrated", *words]


def command(*words: str) -> list[str]:
    """A call of ``diffdescent``."""
    return ["-m", "diffdescent", *words]


def fits() -> list[Step]:
    """The calibrated samplers, longest first. With labels, 3 and 4 evaluations need more noises."""
    return [
        Step("guided", [fit("--models", "cifar10-cfg4")]),
        Step(
            "labelled",
            [
                fit("--models", "cifar10", "--nfe", "3", "4", "--trajectories", "96"),
                fit("--models", "cifar10", "--nfe", "5", "6", "8", "10"),
            ],
        ),
        Step("unlabelled", [fit("--models", "cifar10-unlabelled")]),
    ]


def figures(train: Path, test: Path) -> list[Step]:
    """The figures and sheets of its card and its guide's."""
    return [
        Step(
            "distance",
            [
                command(
                    "compare", "cifar10", "--samplers", "ddim", "--steps", "50", "--n", "5000",
                    "--labels", "cycle", "--dtype", "bf16", "--micro-batch", "64",
                    "--reference", str(train), "--metrics", "fd,agreement,precision,recall",
                    "--out", "distance",
                )
            ],
        ),
        Step(
            "guide",
            [
                command(
                    "compare", "cifar10", "--guidance", "classifier(scale=2)", "--samplers", "ddim",
                    "--steps", "20", "--n", "300", "--labels", "cycle", "--metrics", "agreement",
                    "--reference", str(test), "--out", "guide",
                )
            ],
        ),
        Step(
            "errors",
            [[str(ROOT / "benchmarks" / "denoiser_error.py"), "--test", str(test), "--n", "256"]],
        ),
        Step(
            "gamma",
            [command("gamma", "cifar10", "--images", str(train), "--out", "gamma.json")],
            {"gamma.json": ROOT / "studies" / "cifar10-gamma.json"},
        ),
        Step(
            "sheets",
            [
                [
                    str(ROOT / "benchmarks" / "bundled.py"), "--test", str(test),
                    "--samples", "80", "--samplers", "ge-10", "ddim-100", "--out", "sheets",
                ]
            ],
            {
                "sheets/ge-10.png": DOCS / "cards" / "cifar10-ge-10.png",
                "sheets/ddim-100.png": DOCS / "cards" / "cifar10-ddim-100.png",
            },
        ),
    ]  # fmt: skip


def pages() -> list[Step]:
    """What is made with the calibrated samplers in place."""
    return [
        Step(
            "readme",
            [
                command(
                    "compare", "cifar10", "--samplers", README, "--guidance", "cfg(scale=4)",
                    "--labels", "cycle", "--nfe", "10", "--n", "32",
                    "--metrics", "solution_rmse", "--out", "readme",
                )
            ],
            {
                "readme/table.csv": DOCS / "tables" / "readme.csv",
                "readme/paired.csv": DOCS / "tables" / "readme-paired.csv",
            },
        ),
        Step("hero", [[str(ROOT / "tools" / "hero.py")]]),
        Step(
            "bands",
            [command("weights", "calibrated('cifar10-5')", "--plot", "bands.png", "--overwrite")],
            {"bands.png": DOCS / "pictures" / "calibration-bands.png"},
        ),
        Step("notebooks", [[str(ROOT / "tools" / "run_notebooks.py"), "quickstart"]]),
    ]  # fmt: skip


def place(model: Path, out: Path) -> None:
    """Put the weights there, once; ends the program where ``out`` is that of other weights."""
    done, weights = out / "weights.done", files_hash(sorted(model.rglob("*.safetensors")))
    if not done.exists():
        shutil.copytree(model, ASSETS / "cifar10", dirs_exist_ok=True)
        done.write_text(weights)
    if done.read_text() != weights:
        sys.exit(f"{out} is of other weights than those of {model}; give another folder.")


def run(steps: Sequence[Step], out: Path, jobs: int) -> None:
    """Run steps that do not need each other; ends the program where one fails."""
    with ThreadPoolExecutor(jobs) as pool:
        if not all(list(pool.map(lambda step: step.run(out), steps))):
            sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="the folder with the new weights")
    parser.add_argument("--train", type=Path, required=True, help="CIFAR-10's training images")
    parser.add_argument("--test", type=Path, required=True, help="CIFAR-10's test images")
    parser.add_argument("--out", type=Path, required=True, help="folder of logs and tables")
    parser.add_argument("--jobs", type=int, default=2, help="steps at a time, each on one thread")
    options = parser.parse_args()
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    place(options.model, out)
    run([*fits(), *figures(options.train.resolve(), options.test.resolve())], out, options.jobs)
    for path in sorted((out / "calibrated").glob("*.json")):
        write_atomically(ASSETS / "calibrated" / path.name, path.read_bytes())
    run(pages(), out, options.jobs)
    print("Now: make verdicts, the card, and tools/run_results.py.")


if __name__ == "__main__":
    main()
