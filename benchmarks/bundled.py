"""The figures of the model cards: what the bundled CIFAR-10 networks can do.

    python benchmarks/bundled.py --test data/cifar10-test.zip --samples 1000 --out figures

Measures the accuracy of ``cifar10-features`` on the test images and of ``cifar10-guide`` at eleven
noise levels, then draws class-conditional samples of ``cifar10`` and counts on how many of them
``cifar10-features`` names the class that was asked for. Writes a sample sheet for each sampler (a
column a class) and prints one line of JSON for each figure.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch

import diffdescent as dd
from diffdescent.base.image_sets import ImageSet, read_images
from diffdescent.base.images import save_png, sheet, to_uint8
from diffdescent.models.classifiers import FeatureNet, GuideNet, load_classifier

ASSETS = Path(dd.__file__).parent / "assets"
SAMPLERS = {"ge-10": ("ge(gamma=2)", 10), "ddim-50": ("ddim", 50), "ddim-100": ("ddim", 100)}


@torch.no_grad()
def shares(network: FeatureNet, x: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images (n, 3, 32, 32) in [−1, 1] whose most probable class is their label."""
    right = [
        (network(a).argmax(1) == b).float().sum()
        for a, b in zip(torch.split(x, 250), torch.split(labels, 250), strict=True)
    ]
    return float(sum(right)) / len(x)


@torch.no_grad()
def by_level(network: GuideNet, images: ImageSet, count: int) -> dict[int, float]:
    """The guide's accuracy on noised test images at t = 0, 100, …, 900, 999, with fixed noise."""
    assert images.labels is not None
    rng, process = torch.Generator().manual_seed(0), dd.VP.named()
    chosen = torch.linspace(0, len(images) - 1, count).long()
    x, labels = images.images[chosen].float() / 127.5 - 1, images.labels[chosen]
    figures = {}
    for t in (*range(0, 1000, 100), 999):
        point = process.point(t)
        noisy = point.alpha * x + point.sigma * torch.randn(x.shape, generator=rng)
        logits = torch.cat(
            [network(part, torch.tensor(float(t))) for part in torch.split(noisy, 250)]
        )
        figures[t] = round(float((logits.argmax(1) == labels).float().mean()), 4)
    return figures


def draw_losses(logs: list[Path], path: Path) -> None:
    """The loss curves of runs that followed each other, against the images seen over all of
    them."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    seen = 0
    for log in logs:
        lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        points = [(seen + line["images"], line["loss"]) for line in lines if "loss" in line]
        axes.plot(
            [images / 1000 for images, _ in points],
            [loss for _, loss in points],
            label=log.parent.name,
        )
        seen = points[-1][0]
    axes.set(xlabel="images seen (thousands)", ylabel="loss (weighted as trained)", yscale="log")
    axes.legend()
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--test", required=True, help="CIFAR-10 test images: a folder, zip or npz")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--samplers", nargs="*", default=list(SAMPLERS), choices=list(SAMPLERS))
    parser.add_argument("--out", type=Path, default=Path("figures"))
    parser.add_argument(
        "--model", default="cifar10", help="the denoiser: a bundled name or a checkpoint folder"
    )
    parser.add_argument(
        "--logs",
        type=Path,
        nargs="*",
        default=[],
        help="log.jsonl files of the denoiser's runs, in order",
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.logs:
        draw_losses(arguments.logs, arguments.out / "loss.png")
    test = read_images(arguments.test)
    assert test.labels is not None, "the test images need class folders or labels"
    features, guide = (
        load_classifier(ASSETS / "cifar10-features"),
        load_classifier(ASSETS / "cifar10-guide"),
    )
    assert isinstance(features, FeatureNet)
    assert isinstance(guide, GuideNet)
    real = shares(features, test.images.float() / 127.5 - 1, test.labels)
    print(
        json.dumps({"cifar10-features accuracy": round(real, 4), "images": len(test)}), flush=True
    )
    print(json.dumps({"cifar10-guide accuracy by t": by_level(guide, test, 2000)}), flush=True)
    labels = torch.arange(arguments.samples) % 10
    for name in arguments.samplers:
        recipe, steps = SAMPLERS[name]
        started = time.perf_counter()
        result = dd.sample(
            arguments.model, recipe, steps=steps, n=arguments.samples, labels=labels, micro_batch=32
        )
        figures = {
            "sampler": name,
            "samples": arguments.samples,
            "agreement": round(shares(features, result.images.float(), labels), 4),
            "seconds": round(time.perf_counter() - started, 1),
        }
        save_png(
            sheet(to_uint8(result.images[:80]), columns=10, gap=0), arguments.out / f"{name}.png"
        )
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
