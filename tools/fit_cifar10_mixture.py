"""How the bundled ``cifar10-mixture`` was made.

    python tools/fit_cifar10_mixture.py TRAIN TEST [OUT]

TRAIN and TEST are CIFAR-10's images as folders, zips or npz files with classes. Fits the mixture to
TRAIN, writes it with half-precision numbers to OUT (by default the package's own asset), and puts
its figures on TEST into the JSON.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import torch

from diffdescent.base.image_sets import read_images
from diffdescent.models.fit import DATA, fit_mixture
from diffdescent.models.mixture import Mixture
from diffdescent.models.mixture_file import load_mixture, save_mixture

ASSET = Path(__file__).parent.parent / "src" / "diffdescent" / "assets" / "cifar10-mixture"
BYTES = 4_000_000


def dequantised(images: torch.Tensor) -> torch.Tensor:
    """uint8 images as float64 in [−1, 1], uniform noise of one grey level added: continuous data
    have a density."""
    noise = (
        torch.rand(images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        - 0.5
    )
    return (images.double() + noise) * (2 / 255) - 1


def bits_per_dim(mixture: Mixture, images: torch.Tensor) -> float:
    """−log₂ p of 8-bit images, per number."""
    log_prob = torch.cat([mixture.log_prob(rows, DATA) for rows in torch.split(images, 250)]).mean()
    return -float(log_prob) / math.log(2) / images[0].numel() - math.log2(2 / 255)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=ASSET)
    parser.add_argument("--components", type=int, default=8, help="Gaussians a class")
    parser.add_argument(
        "--support", type=int, default=190, help="cosine coefficients with a full covariance block"
    )
    parser.add_argument("--rounds", type=int, default=6, help="of expectation-maximisation")
    args = parser.parse_args()

    train, test = read_images(args.train), read_images(args.test)
    held_out = dequantised(test.images[:: max(1, len(test) // 2000)])
    single = fit_mixture(
        train.images, None, 0, residual="diagonal", coordinates="cosine", support=0
    )
    fitted = fit_mixture(
        train.images,
        train.labels,
        rank=args.support,
        components=args.components,
        support=args.support,
        coordinates="cosine",
        rounds=args.rounds,
        names=train.classes,
    )
    low = fitted.coordinates.encode(dequantised(train.images[::25]).flatten(1)).var(0)
    notes = {
        "data": "CIFAR-10 training images (50,000, JPEG copies), Krizhevsky 2009",
        "made by": "tools/fit_cifar10_mixture.py",
        "components a class": args.components,
        "block": (
            f"full covariance of the {args.support} cosine coefficients of largest variance, the"
            " rest diagonal"
        ),
        "variance share of the block": round(float(low[: args.support].sum() / low.sum()), 4),
    }
    save_mixture(fitted, args.out, dtype=torch.float16, notes=notes)
    stored = load_mixture(args.out)
    notes["held-out bits per dimension"] = {
        "images": len(held_out),
        "this mixture, as stored": round(bits_per_dim(stored, held_out), 4),
        "this mixture, before rounding to half precision": round(bits_per_dim(fitted, held_out), 4),
        "one diagonal Gaussian in the same coordinates": round(bits_per_dim(single, held_out), 4),
    }
    save_mixture(fitted, args.out, dtype=torch.float16, notes=notes)
    size = sum(path.stat().st_size for path in args.out.iterdir())
    print(f"{args.out}: {size:,} bytes", notes)
    if size > BYTES:
        raise SystemExit(
            f"{size:,} bytes are more than the {BYTES:,} that a bundled model may take."
        )


if __name__ == "__main__":
    main()
