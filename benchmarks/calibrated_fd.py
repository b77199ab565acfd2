"""The bundled calibrated samplers as distributions: the Fréchet distance to the model's own images.

    python benchmarks/calibrated_fd.py --out calibrated-fd.csv [--models mnist cifar10] [--n 2048]

For each bundled file of a model: its images, those of the best fixed sampler on its grid (as the
file names them: the best by distance) and the model's own solution (``unipc(order=3)`` on 32
levels) from the same noises, which were in no fit. Features are those of ``cifar10-features``,
whatever the model's images are of: distances of one model compare with each other alone. ``value``
is the ratio of the two distances, with its interval over the images, paired. Rows that are there
are left out, and the solutions are kept beside the table.
"""

from __future__ import annotations

import argparse
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from growing_table import Table

from diffdescent.base.assets import ASSETS
from diffdescent.core.recipe import parse, parse_grid
from diffdescent.core.solvers.calibrated import plan_of
from diffdescent.core.spectrum.fitted import FittedSolver, load_fitted
from diffdescent.evaluate.extractors import load_extractor
from diffdescent.evaluate.half_sampling import half_width
from diffdescent.evaluate.own_solution import solution_fd
from diffdescent.models.adapt import as_model
from diffdescent.run.calibrate.judge import distances, mean_of
from diffdescent.run.calibrate.setting import guided, subject_of
from diffdescent.run.calibrate.subject import Subject
from diffdescent.run.calibrate.teacher import Trajectories, trajectories
from diffdescent.run.pieces import Pieces

LEVELS = 32
COUNTS = (3, 4, 5, 6, 8, 10)


@cache
def extractor() -> Any:
    """The one that all distances are by."""
    return load_extractor()


def family(file: FittedSolver, n: int, folder: Path) -> tuple[Subject, Trajectories]:
    """The model as the file was fitted to it, and its own solutions."""
    kind = file.fitted_for
    net = as_model(str(kind["model"]))
    net = net if kind["guidance"] is None else guided(net, str(kind["guidance"]))
    labels = "none" if kind["labels"] == "none" else None
    subject = subject_of(net, labels, None, None, None)
    pieces = Pieces(folder, {k: kind[k] for k in ("fingerprint", "guidance", "labels")})
    own = trajectories(subject, range(n), seed=0, levels=LEVELS, keep=False, pieces=pieces)
    return subject, own


def measured(file: FittedSolver, subject: Subject, data: Trajectories) -> dict[str, str]:
    """One row of the table."""
    fixed = file.report["fixed"]
    recipe = parse(fixed["recipe"])
    grid = parse_grid(fixed["grid"], subject.process, file.nfe)
    plans = {
        "calibrated": plan_of(file, subject.grid((*file.levels, file.end))),
        "fixed": recipe.plan(grid),
    }
    own = extractor().of_floats(data.end)
    row = {"n": str(len(data)), "fixed_sampler": f"{fixed['recipe']} on {fixed['grid']}"}
    scores = {}
    for name, plan in plans.items():
        found = subject.run(plan, data.noise, data.cond)[-1]
        far = mean_of(distances(found, data.end))
        score = solution_fd(extractor().of_floats(found), own, extractor().protocol)
        scores[name] = score
        row[f"{name}_distance"] = f"{far.value:.5f}"
        for key in ("value", "low", "high"):
            row[f"{name}_fd_{key}"] = f"{getattr(score, key):.5f}"
    ours, theirs = scores["calibrated"], scores["fixed"]
    ratio = ours.value / theirs.value
    draws = [torch.tensor(score.draws, dtype=torch.float64) for score in (ours, theirs)]
    half = half_width((draws[0] - ratio * draws[1]) / theirs.value)
    shares = {"value": ratio, "low": ratio - half, "high": ratio + half}
    return row | {name: f"{value:.4f}" for name, value in shares.items()}


@torch.no_grad()
def fill(table: Table, files: list[FittedSolver], n: int, folder: Path) -> None:
    """Add the rows of one family that are missing."""
    missing = [file for file in files if (file.name,) not in table.known]
    if not missing:
        return
    subject, data = family(missing[0], n, folder)
    for file in missing:
        table.fill({"file": file.name}, partial(measured, file, subject, data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--models", nargs="+", default=["mnist", "figures", "cifar10-mixture", "cifar10"]
    )
    parser.add_argument("--variants", nargs="+", default=["", "-unlabelled"], help="or =-cfg4")
    parser.add_argument("--nfe", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument("--n", type=int, default=2048)
    options = parser.parse_args()
    table = Table(options.out, ("file",))
    folder = options.out.with_suffix(".pieces")
    for model in options.models:
        for variant in options.variants:
            files = [ASSETS / "calibrated" / f"{model}{variant}-{nfe}.json" for nfe in options.nfe]
            fill(table, [load_fitted(file) for file in files if file.is_file()], options.n, folder)


if __name__ == "__main__":
    main()
