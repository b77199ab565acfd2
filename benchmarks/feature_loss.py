"""Fits samplers that differ in what is made small: the distance of pixels, or of features.

    python benchmarks/feature_loss.py --out losses [--nfe 3 5] [--seed 0]

``guide`` are the maps behind the three blocks of the noise-aware classifier ``cifar10-guide`` at
no noise, the channels of each place normalised (as in LPIPS, without its weights; Zhang et al.
2018): a network that the Fréchet distance of ``compare`` does not use. ``features`` are those of
``cifar10-features``, which that distance is made of: whoever fits to them fits to the judge. Fits
that are there are left as they are; ``compare --samplers "calibrated('losses/guide-3.json')"``
judges one.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import diffdescent as dd
from diffdescent.base.assets import ASSETS
from diffdescent.evaluate.extractors import load_extractor
from diffdescent.models.classifiers import GuideNet, load_classifier
from diffdescent.run.calibrate.loss import Loss


def guide_maps() -> Callable[[Tensor], Tensor]:
    """Images (B, C, H, W) to the maps of ``cifar10-guide`` in one row; all blocks count alike."""
    guide = load_classifier(ASSETS / "cifar10-guide")
    assert isinstance(guide, GuideNet)
    guide.eval()
    kept: list[Tensor] = []
    for block in guide.blocks:
        block.register_forward_hook(lambda _m, _i, out: kept.append(out))

    @torch.no_grad()
    def maps(images: Tensor) -> Tensor:
        kept.clear()
        guide(images.clamp(-1, 1), torch.zeros((), dtype=torch.long))
        scaled = (
            nn.functional.normalize(m, dim=1).flatten(1) * (m.shape[2] * m.shape[3]) ** -0.5
            for m in kept
        )
        return torch.cat(list(scaled), dim=1)

    return maps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--nfe", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    losses = {
        "pixels": Loss(),
        "guide": Loss(features=guide_maps(), name="cifar10-guide"),
        "features": Loss(features=load_extractor().of_floats, name="cifar10-features"),
    }
    for nfe in options.nfe:
        for name, loss in losses.items():
            file = options.out / f"{name}-{nfe}.json"
            if not file.is_file():
                found = dd.calibrate(
                    "cifar10", nfe=nfe, seed=options.seed, loss=loss, folder=options.out / "kept"
                )
                found.write(file)
                print(found.summary, flush=True)


if __name__ == "__main__":
    main()
