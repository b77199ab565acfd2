"""Fit the calibrated samplers of the bundled networks, one JSON file each.

    python tools/calibrate_bundled.py --out calibrated [--models cifar10 cifar10-cfg4] [--nfe 3 4]

What is there already is left alone, and an interrupted fit goes on where it was, so the same
command may be given again until all are made. At the end a table says what each gained on held-out
noises.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any, cast

import torch

from diffdescent.core.predict import Predictor
from diffdescent.core.spectrum.fitted import FittedSolver, load_fitted
from diffdescent.models import load_model
from diffdescent.run.calibrate import calibrate

CASES: dict[str, tuple[str, str | None, str | None]] = {
    "cifar10": ("cifar10", None, None),
    "cifar10-cfg4": ("cifar10", "cfg(scale=4)", None),
    "cifar10-mixture": ("cifar10-mixture", None, None),
    "mnist": ("mnist", None, None),
    "figures": ("figures", None, None),
    "cifar10-unlabelled": ("cifar10", None, "none"),
    "cifar10-mixture-unlabelled": ("cifar10-mixture", None, "none"),
    "mnist-unlabelled": ("mnist", None, "none"),
    "figures-unlabelled": ("figures", None, "none"),
}
"""Model, guidance and labels, by the name of the files. A run without labels, which is what
``dd.sample("cifar10", steps=5)`` is, takes one that was fitted without."""
NFE = (5, 3, 4, 6, 8, 10)


def quick(name: str) -> Predictor:
    """The model of that name; `cifar10` in the memory layout in which a CPU answers faster (not so
    `mnist`). The answers differ in their last bits."""
    model = load_model(name)
    if name == "cifar10":
        cast(Any, model).module.unet.to(memory_format=torch.channels_last)
    return model


def fitted(case: str, nfe: int, options: argparse.Namespace) -> FittedSolver:
    """The sampler of one case, from its file or made now."""
    folder: Path = options.out
    model, guidance, labels = CASES[case]
    name = f"{case}-{nfe}"
    path = folder / f"{name}.json"
    if not path.is_file():
        print(f"{name} …", flush=True)
        note = (lambda line: print(f"  {line}", flush=True)) if options.verbose else None
        found = calibrate(
            quick(model),
            nfe=nfe,
            guidance=guidance,
            labels=labels,
            trajectories_count=options.trajectories,
            folder=folder / f".{case}",
            name=name,
            note=note,
        )
        found.write(path)
        print(found.summary, flush=True)
    return load_fitted(path)


def row(solver: FittedSolver) -> str:
    """A row of the table."""
    report = solver.report
    ours, theirs = report["rmse"], report["fixed"]["rmse"]
    half = (ours["high"] - ours["low"]) / 2
    return (
        f"| `{solver.name}` | {theirs['value']:.4f} (`{report['fixed']['recipe']}`,"
        f" {report['fixed']['grid']}) | {ours['value']:.4f} ± {half:.4f} |"
        f" {ours['value'] / theirs['value']:.2f} | {report['kept']} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    parser.add_argument("--models", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--nfe", nargs="+", type=int, default=NFE)
    parser.add_argument("--trajectories", type=int, default=40, help="noises that are fitted to")
    parser.add_argument("--keep", action="store_true", help="keep the trajectories in the folder")
    parser.add_argument("--verbose", action="store_true", help="print each stage")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for case in options.models:
        rows += [row(fitted(case, nfe, options)) for nfe in options.nfe]
        if not options.keep:
            shutil.rmtree(options.out / f".{case}", ignore_errors=True)
    print("| sampler | best fixed, distance | calibrated | ratio | kept |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
