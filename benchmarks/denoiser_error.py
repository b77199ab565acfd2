"""How well a denoiser knows the image, and the size of the noise, at each level.

    python benchmarks/denoiser_error.py --test cifar10-test.zip [--model cifar10] [--n 128]

For test images x0 spread evenly over the set and x_t = αx0 + σε with fixed noise: the mean squared
error of x̂0; and the slope ⟨ε̂, ε⟩/⟨ε, ε⟩ of the estimated noise on the true one, its mean and
standard deviation over the images. A slope that varies is an error of size, which a sampler adds up
over its steps. ``mean image``: the error of the set's mean. The last line is the mean squared error
of v = αε − σx0 over all levels, one figure to compare networks of different prediction by.
"""

from __future__ import annotations

import argparse

import torch

import diffdescent as dd
from diffdescent.base.image_sets import read_images
from diffdescent.base.images import from_uint8

TIMES = (10, 30, 50, 60, 100, 200, 300, 400, 500, 600, 700, 800, 900, 950, 999)


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--test", required=True, help="images with classes: a folder, zip or npz")
    parser.add_argument(
        "--model", default="cifar10", help="a bundled name or a checkpoint folder of a VP process"
    )
    parser.add_argument("--n", type=int, default=128)
    arguments = parser.parse_args()
    model, found = dd.load_model(arguments.model), read_images(arguments.test)
    chosen = torch.linspace(0, len(found) - 1, arguments.n).long()
    x0 = from_uint8(found.images[chosen])
    labels = None if found.labels is None else found.labels[chosen]
    generator = torch.Generator().manual_seed(0)
    print(f"mean image: {(x0 - x0.mean(0)).square().mean():.3f}")
    errors = []
    for t in TIMES:
        point = model.process.point(t)
        eps = torch.randn(x0.shape, generator=generator)
        x = point.alpha * x0 + point.sigma * eps
        prediction = model(x, point, labels)
        off_x0, off_eps = prediction.to("x0", x) - x0, prediction.to("eps", x) - eps
        error = off_x0.square().mean()
        errors.append((point.alpha * off_eps - point.sigma * off_x0).square().mean())
        slope = (prediction.to("eps", x) * eps).sum((1, 2, 3)) / eps.square().sum((1, 2, 3))
        print(
            f"t = {t:3d}  error of x0 {error:.4f}  slope of ε {slope.mean():.4f} ±"
            f" {slope.std():.4f}"
        )
    print(f"error of v {torch.stack(errors).mean():.4f}")


if __name__ == "__main__":
    main()
