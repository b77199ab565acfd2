"""The closed form ``gaussian`` next to samplers without a fit: the table of docs/calibration.md.

    python benchmarks/closed_form.py --out closed-form.csv [--model cifar10-mixture] [--nfe 5]

The mean distance to the model's own solution (64 levels of ``unipc(order=3)``), labels in turn,
each sampler on the best of some 25 grids. The grids are chosen on half of the noises and the
distances measured on the other half, so no sampler gains by its number of grids. The spectrum is
measured on 64 samples of the model. ``difference`` is to the best of the samplers that are not
``gaussian``, paired, with Student's 95 % interval. Rows are appended to the file.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

import diffdescent as dd
from diffdescent.base.csv_text import csv_text
from diffdescent.base.errors import UserError
from diffdescent.base.files import write_atomically
from diffdescent.core.recipe import parse, parse_grid
from diffdescent.core.spectrum.power import measure_spectrum
from diffdescent.run.calibrate.fixed import usual_grids
from diffdescent.run.calibrate.judge import distances, mean_of
from diffdescent.run.calibrate.setting import subject_of
from diffdescent.run.calibrate.subject import Subject
from diffdescent.run.calibrate.teacher import Trajectories, trajectories
from diffdescent.run.pieces import Pieces
from diffdescent.run.spectrum import own_images

HEAD = (
    "model", "nfe", "n", "sampler", "grid", "value", "low", "high", "difference",
    "difference_low", "difference_high",
)  # fmt: skip
FIXED = ("ge", "plms", "dpmpp(order=2)", "unipc")
STARTS = (80.0, 40.0, 20.0, 12.0)
GRIDS = (
    "loglinear(start={}, end=zero)", "exponential(start={}, last=0.3)",
    "exponential(start={}, last=0.1)", "karras(start={}, last=0.1)", "karras(start={}, last=0.03)",
)  # fmt: skip


def grids(subject: Subject, recipe: str) -> Iterator[str]:
    """The usual ones of a recipe, and several families from several levels on."""
    yield from usual_grids(subject, recipe)
    for start in STARTS:
        if start < subject.span[0]:
            yield from (grid.format(start) for grid in GRIDS)


def measured(
    subject: Subject, data: Trajectories, recipe: str, grid: str, nfe: int
) -> torch.Tensor | None:
    """The distance of each image, (n,); None where the sampler does not take ``nfe``
    evaluations."""
    try:
        plan = parse(recipe).plan(parse_grid(grid, subject.process, nfe))
    except UserError:
        return None
    if plan.nfe != nfe:
        return None
    return distances(subject.run(plan, data.noise, data.cond)[-1], data.end)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--model", default="cifar10-mixture")
    parser.add_argument("--nfe", type=int, default=5)
    parser.add_argument("--n", type=int, default=32, help="noises that are measured")
    asked = parser.parse_args()
    model, n = dd.load_model(asked.model), asked.n
    subject = subject_of(model, None, model.shape, None, None)
    data = trajectories(subject, range(2 * n), seed=0, levels=64, keep=False, pieces=Pieces(None))
    chosen_on, judged_on = data[:n], data[n:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spectrum.json"
        path.write_text(measure_spectrum(own_images(model, 64), "usual", source="").to_json())
        closed = {
            f"gaussian, order {k}": f"gaussian(order={k}, spectrum='{path}')" for k in (1, 2, 3)
        }
        found: dict[str, tuple[str, torch.Tensor]] = {}
        for name, recipe in {**{r: r for r in FIXED}, **closed}.items():
            tried = {
                g: measured(subject, chosen_on, recipe, g, asked.nfe)
                for g in grids(subject, recipe)
            }
            means = {g: float(d.mean()) for g, d in tried.items() if d is not None}
            grid = min(means, key=lambda g: means[g])
            there = measured(subject, judged_on, recipe, grid, asked.nfe)
            assert there is not None
            found[name] = (grid, there)
            print(f"{name} on {grid}: {float(there.mean()):.5f}", flush=True)
    best = min((found[r][1] for r in FIXED), key=lambda d: float(d.mean()))
    rows = []
    for name, (grid, there) in found.items():
        values = []
        for one in (mean_of(there), mean_of(there - best)):
            values += [f"{v:.6g}" for v in (one.value, one.low, one.high)]
        rows.append((asked.model, asked.nfe, n, name, grid, *values))
    before = asked.out.read_text() if asked.out.exists() else csv_text([HEAD])
    write_atomically(asked.out, (before + csv_text(rows)).encode())


if __name__ == "__main__":
    main()
