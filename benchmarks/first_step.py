"""Why gradient estimation gains less at very few steps: what the first, plain step costs by itself.

Usage: python benchmarks/first_step.py [--n 32] [--grid quadratic] [--steps 5,10] [--gammas
                                       1.5,2,2.5,3] [--fit TRAIN --rank 60]

RMSE per pixel in [−1, 1] to the exact solution from the same noise, of: DDIM; one DDIM step with
everything after it solved exactly; momentum; and gradient estimation for several γ, as a ratio to
DDIM. ``--fit`` takes a mixture fitted to a set of labelled images (one Gaussian of ``--rank`` for
each class) in place of the bundled one.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.base.image_sets import read_images
from diffdescent.models.fit import fit_mixture
from diffdescent.models.flowmap import exact_solution
from diffdescent.models.mixture import Mixture
from diffdescent.run import initial_state, noise_for


def study(model: Mixture, name: str, steps: int, n: int, gammas: list[float]) -> None:
    """Print the figures of one grid."""
    grid = dd.grid(name, model.process, steps)
    first, second, last = grid.points[0], grid.points[1], grid.points[-1]
    x = initial_state(noise_for(0, range(n), model.shape or ()), grid).double()

    def solved(state: Tensor, start: dd.Point) -> Tensor:
        return exact_solution(model, state, start, last, rtol=1e-5, atol=1e-5).x

    def sampled(recipe: str, levels: dd.Grid) -> Tensor:
        return dd.sample(
            model, recipe, grid=levels, start=x, n=n, dtype=torch.float64, micro_batch=n
        ).images

    truth = solved(x, first)

    def error(images: Tensor) -> float:
        return float((images - truth).pow(2).mean().sqrt())

    ddim = error(sampled("ddim", grid))
    one = dd.Grid(model.process, grid.t[:2], grid.alpha[:2], grid.sigma[:2])
    alone = error(solved(sampled("ddim", one), second))
    print(
        f"\n{name}, {grid.steps} steps, σ/α {first.ratio:.4g} → {second.ratio:.4g} → … →"
        f" {last.ratio:.4g}, {n} samples"
    )
    print(
        f"  ddim {ddim:.4f}; its first step alone, then exact {alone:.4f} ({alone / ddim:.2f}"
        " of it)"
    )
    print(
        f"  momentum(beta=-0.3) / ddim {error(sampled('ddim | momentum(-0.3)', grid)) / ddim:.3f}"
    )
    for gamma in gammas:
        print(
            f"  ge(gamma={gamma:g}) / ddim {error(sampled(f'ge(gamma={gamma})', grid)) / ddim:.3f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=32)
    parser.add_argument("--grid", default="quadratic")
    parser.add_argument("--steps", default="5,10")
    parser.add_argument("--gammas", default="1.5,2,2.5,3")
    parser.add_argument("--fit", help="labelled images to fit another mixture to")
    parser.add_argument("--rank", type=int, default=60)
    arguments = parser.parse_args()
    if arguments.fit:
        images = read_images(arguments.fit)
        model = fit_mixture(images.images, images.labels, arguments.rank)
        print(f"one Gaussian of rank {arguments.rank} for each class of {arguments.fit}")
    else:
        bundled = dd.load_model("cifar10-mixture")
        assert isinstance(bundled, Mixture)
        model = bundled
    for steps in arguments.steps.split(","):
        study(
            model,
            arguments.grid,
            int(steps),
            arguments.n,
            [float(g) for g in arguments.gammas.split(",")],
        )


if __name__ == "__main__":
    main()
