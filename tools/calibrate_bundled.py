"""Fit the calibrated samplers of the bundled networks, one JSON file each.

    python tools/calibrate_bundled.py --out calibrated [--models cifar10 mnist] [--nfe 3 4 5 6]

What is there already is left alone, and an interrupted fit goes on where it was, so the same
command may be given again until all are made. At the end a table says what each gained on held-out
noises.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from diffdescent.core.spectrum.fitted import FittedSolver, load_fitted
from diffdescent.run.calibrate import calibrate

GUIDANCE = {"cifar10": (None, "cfg(scale=4)")}
"""Under which guidance a network is fitted; without any, unless it says otherwise."""


def fitted(model: str, nfe: int, guidance: str | None, folder: Path) -> FittedSolver:
    """The sampler of one network, from its file or made now."""
    name = f"{model}-n{nfe}" + ("" if guidance is None else "-cfg4")
    path, parts = folder / f"{name}.json", folder / f".{model}{'' if guidance is None else '-cfg4'}"
    if not path.is_file():
        print(f"{name} …", flush=True)
        found = calibrate(model, nfe=nfe, guidance=guidance, folder=parts, name=name)
        found.write(path)
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
    parser.add_argument("--models", nargs="+", default=["cifar10", "mnist", "figures"])
    parser.add_argument("--nfe", nargs="+", type=int, default=[3, 4, 5, 6, 8, 10])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for model in options.models:
        for guidance in GUIDANCE.get(model, (None,)):
            rows += [row(fitted(model, nfe, guidance, options.out)) for nfe in options.nfe]
    for parts in options.out.glob(".*"):
        shutil.rmtree(parts)
    print("| sampler | best fixed, distance | calibrated | ratio | kept |\n|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
