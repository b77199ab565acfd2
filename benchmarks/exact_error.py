"""RMSE to the exact solution on the bundled mixture: sampler × grid × steps, from the same noise.

Usage: python benchmarks/exact_error.py [--n 256] [--seed 0] [--grids quadratic,loglinear] [--steps
5,10,20,50] [--csv docs/tables/exact.csv]

RMSE per pixel in [−1, 1] between a sampler's images and the exact end of the probability-flow ODE
from the state in which the sampler starts. Each grid's first and last level is printed: samplers
are only comparable within one grid. A second table gives each sampler's RMSE over that of the first
one, with a 95 % bootstrap interval over the samples (2,000 resamples, paired: both see the same
noise).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import diffdescent as dd
from diffdescent.base.csv_text import csv_text
from diffdescent.base.files import write_atomically
from diffdescent.models.exact import Exact
from diffdescent.models.flowmap import exact_solution
from diffdescent.run import initial_state, noise_for

SAMPLERS = (
    "ddim",
    "ge(gamma=1.5)",
    "ge(gamma=2)",
    "ddim | momentum(beta=-0.3)",
    "ddim | momentum(beta=0.2)",
    "ddim | momentum(beta=-0.8)",
    "ge(gamma=2) | momentum(beta=-0.3)",
    "plms",
    "ab(order=2)",
    "deis",
    "dpmpp(order=2)",
    "dpmpp(order=3)",
    "unipc",
)


HEAD = ("grid", "sampler", "steps", "n", "seed", "rmse", "value", "low", "high")


def ratio_interval(squares: torch.Tensor, base: torch.Tensor) -> tuple[float, float, float]:
    """√(Σ squares/Σ base) over per-sample squared errors (n,), with its 95 % bootstrap interval."""
    picks = torch.randint(len(base), (2000, len(base)), generator=torch.Generator().manual_seed(0))
    ratios = (squares[picks].sum(1) / base[picks].sum(1)).sqrt()
    low, high = torch.quantile(ratios, torch.tensor([0.025, 0.975], dtype=ratios.dtype)).tolist()
    return float((squares.sum() / base.sum()).sqrt()), low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="cifar10-mixture")
    parser.add_argument("--n", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grids", default="quadratic,loglinear,uniform(spacing=trailing)")
    parser.add_argument("--steps", default="5,10,20,50")
    parser.add_argument(
        "--samplers", help="recipes separated by ';', the first one being the base of the ratios"
    )
    parser.add_argument("--cache", type=Path, default=Path("runs/exact"))
    parser.add_argument("--csv", type=Path, help="where the table is written too")
    arguments = parser.parse_args()
    model = dd.load_model(arguments.model)
    if not isinstance(model, Exact):
        parser.error(f"{arguments.model} has no exact solution; give a bundled mixture")
    samplers = (
        [one.strip() for one in arguments.samplers.split(";")] if arguments.samplers else SAMPLERS
    )
    counts = [int(s) for s in arguments.steps.split(",")]
    noise = noise_for(arguments.seed, range(arguments.n), model.shape or ())
    rows: list[tuple[object, ...]] = []
    for name in arguments.grids.split(","):
        grids = {n: dd.grid(name, model.process, n) for n in counts}
        truth = {}
        for n, grid in grids.items():
            x = initial_state(noise, grid).double()
            solution = exact_solution(
                model,
                x,
                grid.points[0],
                grid.points[-1],
                rtol=1e-5,
                atol=1e-5,
                cache=arguments.cache,
            )
            truth[n] = solution.x
            print(
                f"{name}, {n} steps asked, {grid.steps} taken: σ/α from {grid.ratio[0]:.4g} to"
                f" {grid.ratio[-1]:.4g}; error of the exact solution"
                f" {float(solution.error.max()):.1e}"
            )
        print(f"\n{'sampler':<36}" + "".join(f"{n:>10}" for n in counts))
        squares: dict[tuple[str, int], torch.Tensor] = {}
        for recipe in samplers:
            for n, grid in grids.items():
                images = dd.sample(
                    model,
                    recipe,
                    grid=grid,
                    n=arguments.n,
                    seed=arguments.seed,
                    batch_size=arguments.n,
                    micro_batch=arguments.n,
                    dtype=torch.float64,
                ).images
                squares[recipe, n] = (images - truth[n]).pow(2).flatten(1).mean(1)
            print(
                f"{recipe:<36}"
                + "".join(f"{float(squares[recipe, n].mean().sqrt()):>10.4f}" for n in counts)
            )
        print(f"\n{'over ' + samplers[0]:<36}" + "".join(f"{n:>24}" for n in counts))
        for recipe in samplers:
            over = [ratio_interval(squares[recipe, n], squares[samplers[0], n]) for n in counts]
            texts = (f"{ratio:.3f} [{low:.3f}, {high:.3f}]" for ratio, low, high in over)
            print(f"{recipe:<36}" + "".join(f"{text:>24}" for text in texts), flush=True)
            for n, found in zip(counts, over, strict=True):
                error = float(squares[recipe, n].mean().sqrt())
                values = (f"{value:.6g}" for value in (error, *found))
                rows.append((name, recipe, n, arguments.n, arguments.seed, *values))
        print()
        if arguments.csv is not None:
            write_atomically(arguments.csv, csv_text([HEAD, *rows]).encode())


if __name__ == "__main__":
    main()
