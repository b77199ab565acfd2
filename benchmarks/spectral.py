"""What spectral rows cost: the work of a calibrated sampler outside the network, over a whole step.

Usage: python benchmarks/spectral.py [--repeats 15] [--threads 1] [--batch 4 16]

For each bundled network a step of a sampler of five evaluations, with eight bands, all evaluations
in every row and the start scaled (the dearest there is), is timed next to an evaluation of the
network, in turn; the median over the repeats of its share is printed, with the same of ``unipc``.
Times are the process's own: with others on the machine a long evaluation would be interrupted more
often than a short step. The limit is 2 %.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

import diffdescent as dd
from diffdescent.core.grid import explicit_ratios
from diffdescent.core.plan import Plan
from diffdescent.core.predict import conversion
from diffdescent.core.recipe import parse, parse_grid
from diffdescent.core.solvers.calibrated import plan_of
from diffdescent.core.spectrum import Bands, named_axes
from diffdescent.core.spectrum.fitted import FittedRow, FittedSolver

NETWORKS = ("cifar10", "mnist", "figures")
NFE = 5
LEVELS = (40.0, 8.0, 2.5, 0.9, 0.2)


def spectral_plan(model: dd.Predictor) -> Plan:
    """A plan with curves of eight bands in every coefficient."""
    assert model.shape is not None
    channels, size = model.shape[0], model.shape[-1]
    axes, bands = named_axes("usual", channels), Bands.for_size(size, 8)
    curve = tuple(0.9 + 0.01 * k for k in range(bands.count))
    one = (curve,) * axes.count
    rows = tuple(FittedRow(one, (one,) * (n + 1)) for n in range(NFE))
    fitted = FittedSolver("bench", LEVELS, 0.0, axes, bands, one, rows)
    return plan_of(fitted, explicit_ratios(model.process, (*LEVELS, 0.0)))


def outside(plan: Plan, x: torch.Tensor) -> Callable[[], float]:
    """Seconds per step of an executor that is fed with a fixed prediction."""
    raw = torch.randn_like(x)
    predictions = [dd.Prediction(raw, conversion("eps", row.at)) for row in plan.rows]

    def run() -> float:
        executor = dd.Executor(plan, x)
        begin = time.process_time()
        for prediction in predictions:
            executor.ask()
            executor.tell(prediction)
        return (time.process_time() - begin) / len(predictions)

    return run


def inside(model: dd.Predictor, x: torch.Tensor) -> Callable[[], float]:
    """Seconds of one evaluation of the network."""
    point = model.process.point(500.0)

    def run() -> float:
        begin = time.process_time()
        model(x, point)
        return time.process_time() - begin

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, nargs="+", default=[4, 16])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.threads} thread(s), {options.repeats} repeats\n")
    print(
        f"{'network':<10}{'batch':>6}{'network ms':>12}{'spectral ms':>13}{'share':>8}{'unipc':>8}"
    )
    with torch.no_grad():
        for name in NETWORKS:
            model = dd.load_model(name)
            unipc = parse("unipc").plan(parse_grid("loglinear", model.process, NFE))
            for batch in options.batch:
                x = torch.randn(batch, *(model.shape or ()))
                timed = (inside(model, x), outside(spectral_plan(model), x), outside(unipc, x))
                for one in timed:
                    one()
                runs = [tuple(one() for one in timed) for _ in range(options.repeats)]
                network, ours = (statistics.median(run[k] for run in runs) for k in (0, 1))
                shares = [
                    statistics.median(run[k] / (run[0] + run[k]) for run in runs) for k in (1, 2)
                ]
                print(
                    f"{name:<10}{batch:>6}{network * 1e3:>12.2f}{ours * 1e3:>13.3f}"
                    f"{shares[0]:>8.2%}{shares[1]:>8.2%}"
                )


if __name__ == "__main__":
    main()
