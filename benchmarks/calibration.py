"""What each part of a calibration gains, and how far a calibrated sampler carries.

    python benchmarks/calibration.py parts --out parts.csv [--model cifar10] [--nfe 5] [--seeds 5]
    python benchmarks/calibration.py means parts.csv
    python benchmarks/calibration.py elsewhere FILE --out elsewhere.csv [--model cifar10]

``parts`` fits step by step again and again, with one thing changed each time: bands, trajectories,
levels searched or not, history, the prior, consistent rows; then end to end. The teacher's
trajectories, the opponent and every search of levels are made once for a seed and shared.
``means`` puts the seeds together. ``elsewhere`` takes a fitted file to other guidance, to single
classes, to half and double the size and to ``--other`` networks of the same data, and measures it
there against the best fixed sampler of that place. Rows are appended to a CSV file as soon as they
are known, and what stands there already is left out: give the same command again after a kill.
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path
from typing import Any

import torch
from growing_table import Table

from diffdescent.base.statistics import Estimate
from diffdescent.core.solvers.calibrated import plan_of
from diffdescent.core.spectrum.fitted import load_fitted
from diffdescent.models.adapt import as_model
from diffdescent.run.calibrate import calibrate
from diffdescent.run.calibrate.fixed import best_fixed
from diffdescent.run.calibrate.judge import distances, mean_of, nearer
from diffdescent.run.calibrate.setting import guided, subject_of
from diffdescent.run.calibrate.teacher import trajectories
from diffdescent.run.pieces import Pieces

PARTS: dict[str, dict[str, Any]] = {
    "step by step": {},
    **{f"{n} knots": {"bands": n} for n in (1, 2, 4, 12)},
    "levels of the fixed sampler": {"search": False},
    "end to end": {"end_to_end": 2},
    "end to end, 1 knot": {"end_to_end": 2, "bands": 1},
    "end to end, levels of the fixed sampler": {"end_to_end": 2, "search": False},
    **{f"{n} trajectories": {"trajectories_count": n} for n in (10, 16, 24, 64)},
    "consistent rows": {"consistent": True},
    "closed form as prior": {"prior": "gaussian"},
    "fixed sampler as prior": {"prior": "fixed"},
    "history 1": {"history": 1},
    "history 3": {"history": 3},
    "start not scaled": {"plain_start": True},
}
PLACES: dict[str, dict[str, Any]] = {
    "its own": {},
    **{f"cfg {s}": {"guidance": f"cfg(scale={s})"} for s in (1, 2, 4, 8)},
    "class 0": {"labels": "0"},
    "class 5": {"labels": "5"},
    "no labels": {"labels": "none"},
    "half size": {"scale": 0.5},
    "double size": {"scale": 2.0},
}
NOISES, LEVELS = range(3_000_000, 3_000_024), 64
"""Of the second table: noises that are in no fit, and the teacher's evaluations."""


def numbers(ours: Estimate, theirs: Estimate) -> dict[str, str]:
    """The columns of a measurement."""
    return {
        "calibrated": f"{ours.value:.5f}",
        "half_interval": f"{(ours.high - ours.low) / 2:.5f}",
        "fixed": f"{theirs.value:.5f}",
        "ratio": f"{ours.value / theirs.value:.3f}",
    }


def parts(options: argparse.Namespace) -> None:
    """One thing changed at a time, seed by seed."""
    table = Table(options.out, ("model", "nfe", "part", "seed"))
    folder = options.out.with_suffix(".parts")
    for seed in range(options.seeds):
        for part, changes in PARTS.items():
            if options.only and part not in options.only:
                continue

            def fit(seed: int = seed, changes: dict[str, Any] = changes) -> dict[str, Any]:
                found = calibrate(
                    options.model,
                    nfe=options.nfe,
                    seed=seed,
                    folder=folder,
                    **{"end_to_end": 0, "teacher_levels": options.levels, **changes},
                )
                return {
                    **numbers(found.fitted, found.opponent),
                    "kept": found.solver.report["kept"],
                    "evaluations": found.evaluations,
                }

            what = {"model": options.model, "nfe": str(options.nfe), "part": part}
            table.fill({**what, "seed": str(seed)}, fit)


def means(options: argparse.Namespace) -> None:
    """Prints the mean ratio of each part over its seeds, and over the same seeds that of the first
    part."""
    rows = list(csv.DictReader(options.table.open()))
    parts = list(dict.fromkeys(row["part"] for row in rows))
    ratios = {(row["part"], row["seed"]): float(row["ratio"]) for row in rows}
    print("| part | seeds | ratio | against it |\n|---|---|---|---|")
    for part in parts:
        seeds = [seed for name, seed in ratios if name == part]
        found = torch.tensor([ratios[part, s] for s in seeds], dtype=torch.float64)
        both = [ratios[part, s] / ratios[parts[0], s] for s in seeds if (parts[0], s) in ratios]
        apart = mean_of(torch.tensor(both, dtype=torch.float64).log())
        low, high = (math.exp(v) for v in (apart.low, apart.high))
        shown = f"{math.exp(apart.value):.2f} [{low:.2f}, {high:.2f}]" if len(both) > 1 else "–"
        print(f"| {part} | {len(seeds)} | {float(found.mean()):.3f} | {shown} |")


def elsewhere(options: argparse.Namespace) -> None:
    """A file where it was not fitted."""
    table = Table(options.out, ("file", "place"))
    others = {f"another network, {p.name}": {"model": str(p)} for p in options.other}
    for place, changes in ({**PLACES, **others}).items():
        if options.only and place not in options.only and place not in others:
            continue

        def measure(changes: dict[str, Any] = changes) -> dict[str, Any]:
            return _there(options, **changes)

        table.fill({"file": options.file.name, "place": place}, measure)


def _there(
    options: argparse.Namespace,
    guidance: str | None = None,
    labels: str | None = None,
    scale: float = 1.0,
    model: str | None = None,
) -> dict[str, Any]:
    solver = load_fitted(options.file)
    own = solver.fitted_for.get("guidance") if guidance is None else guidance
    net = as_model(model or options.model)
    channels, height, width = solver.fitted_for["shape"]
    shape = (channels, int(height * scale), int(width * scale))
    net = net if own is None else guided(net, str(own))
    subject = subject_of(net, labels, shape, None, None)
    with torch.no_grad():
        data = trajectories(subject, NOISES, seed=0, levels=LEVELS, keep=False, pieces=Pieces(None))
        rival = best_fixed(subject, data, solver.nfe, lambda line: None)
        plan = plan_of(solver, subject.grid((*solver.levels, solver.end)))
        ours, theirs = (
            distances(subject.run(one, data.noise, data.cond)[-1], data.end)
            for one in (plan, rival.plan)
        )
    _, better = nearer(ours, theirs)
    return {
        **numbers(mean_of(ours), mean_of(theirs)),
        "best_fixed": f"{rival.recipe} on {rival.grid}",
        "nearer": better,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    for run in (parts, elsewhere, means):
        command = commands.add_parser(run.__name__)
        command.set_defaults(run=run)
        if run is means:
            command.add_argument("table", type=Path)
            continue
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--model", default="cifar10")
        if run is elsewhere:
            command.add_argument("file", type=Path)
            command.add_argument("--other", type=Path, nargs="*", default=[])
            command.add_argument("--only", nargs="*", choices=PLACES)
            continue
        command.add_argument("--nfe", type=int, default=5)
        command.add_argument("--seeds", type=int, default=5)
        command.add_argument("--levels", type=int, default=64, help="evaluations of the teacher")
        command.add_argument("--only", nargs="*", choices=PARTS)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
