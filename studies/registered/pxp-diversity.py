"""The registered study of `pxp-diversity.md`: does PixelAsParam keep diversity at equal agreement?

python studies/registered/pxp-diversity.py pilot            # chooses the scale and n; other seed
python studies/registered/pxp-diversity.py run FOLDER       # can be stopped
python studies/registered/pxp-diversity.py analyse          # from pxp-diversity.csv, next to this
"""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import diffdescent as dd
from diffdescent.base.files import kept_arrays, make_folder, pack_arrays, write_atomically
from diffdescent.base.statistics import Estimate, holm, mean_of
from diffdescent.core.process import Point
from diffdescent.guidance import apply_guidance
from diffdescent.models.mixture import Mixture

TABLE = Path(__file__).with_suffix(".csv")
DIMENSIONS = 64
STEPS, BATCH = 50, 100
PXP = "guide(scale=0.5) | pxp"
PLAIN = "guide(scale={scale:g})"
PILOT_SEED, PILOT_N = 1, 400
SCALES = (0.5, 0.75, 1.0, 1.5, 2.5, 5.0)
SEED, PAIRS = 2027, 1000
MARGIN, ALPHA, DESIGN = 0.05, 0.05, 0.02
METHODS = {"pxp": PXP, "plain": PLAIN.format(scale=5.0), "conditional": None}
CLEAN = Point(0.0, 1.0, 0.0)
Array = npt.NDArray[np.float64]


def small_mixture() -> Mixture:
    """The first cosine coefficients of `cifar10-mixture`: 80 Gaussians of ten classes, exact."""
    whole = dd.load_model("cifar10-mixture")
    assert isinstance(whole, Mixture)
    means, rests, factors = [], [], []
    for mean, one in zip(whole.means, whole.covariances, strict=True):
        basis = torch.eye(whole.means.shape[1], dtype=torch.float64)[:DIMENSIONS]
        covariance = one.apply(lambda v: v, basis)[:, :DIMENSIONS]
        values, vectors = torch.linalg.eigh((covariance + covariance.T) / 2)
        rest = float(values[0]) * 0.999
        means.append(mean[:DIMENSIONS])
        rests.append(torch.full((DIMENSIONS,), rest, dtype=torch.float64))
        factors.append(vectors * (values - rest).sqrt())
    shape = (1, 8, 8)
    size = float(torch.stack(means).square().mean().sqrt() + torch.stack(rests).mean().sqrt())
    return Mixture(
        whole.weights,
        torch.stack(means).reshape(-1, *shape) / size,
        torch.stack(rests).reshape(-1, *shape) / size**2,
        whole.process,
        factors=torch.stack(factors) / size,
        labels=whole.labels,
        classes=whole.classes,
        name="cifar10-mixture, 64 coefficients",
    )


class Exact:
    """∇ log p(y | x_t), from the mixture itself."""

    def __init__(self, model: Mixture) -> None:
        self.model, self.label_count = model, 10

    def __call__(self, x: Tensor, point: Point, labels: Tensor | None) -> Tensor:
        assert labels is not None
        with torch.enable_grad():
            leaf = x.detach().double().requires_grad_()
            chosen = self.model.class_log_prob(leaf, point).gather(1, labels[:, None]).sum()
            return torch.autograd.grad(chosen, leaf)[0].to(x.dtype)


def draw(model: Mixture, guidance: str | None, first: int, n: int, seed: int) -> Tensor:
    """Samples ``first`` … of a guidance, None for the conditional mixture; two in a row have one
    class."""
    samples = list(range(first, first + n))
    labels = [i // 2 % 10 for i in samples]
    asked: object = model
    recipe = dd.sampler("ddpm")
    if guidance is not None:
        asked, recipe = apply_guidance(guidance, Unlabelled(model), recipe, guide=Exact(model))
    return dd.sample(
        asked, recipe, steps=STEPS, samples=samples, seed=seed, labels=labels, progress=False,
        batch_size=BATCH, micro_batch=BATCH,
    ).images.double()  # fmt: skip


class Unlabelled:
    """The mixture of all classes, whatever the label is: classifier guidance alone conditions."""

    def __init__(self, model: Mixture) -> None:
        self.model, self.process, self.shape = model, model.process, model.shape

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> object:
        return self.model(x, point, None)


def judged(model: Mixture, images: Tensor, first: int) -> Array:
    """For each pair of one class: its distance (RMS), and the mean p(class | image) of the two."""
    labels = torch.tensor([i // 2 % 10 for i in range(first, first + len(images))])
    agreement = model.class_log_prob(images, CLEAN).exp().gather(1, labels[:, None])[:, 0]
    distance = (images[0::2] - images[1::2]).flatten(1).square().mean(1).sqrt()
    return torch.stack([distance, agreement.reshape(-1, 2).mean(1)], 1).numpy()


def pilot() -> None:
    """Agreement and distance by scale, and the number of pairs for a power of 90 %."""
    model = small_mixture()
    pxp = judged(model, draw(model, PXP, 0, PILOT_N, PILOT_SEED), 0)
    print(f"{PXP}: agreement {pxp[:, 1].mean():.4f}, distance {pxp[:, 0].mean():.4f}", flush=True)
    for scale in SCALES:
        plain = judged(model, draw(model, PLAIN.format(scale=scale), 0, PILOT_N, PILOT_SEED), 0)
        gap, base = pxp[:, 0] - plain[:, 0], plain[:, 0].mean()
        n = math.ceil(((1.645 + 1.645) * gap.std(ddof=1) / (MARGIN * base)) ** 2)
        print(
            f"scale {scale:g}: agreement {plain[:, 1].mean():.4f}, distance {base:.4f}, relative"
            f" difference {gap.mean() / base:+.4f}; {n} pairs for 90 % power at no difference",
            flush=True,
        )


def run(out: Path) -> None:
    """Make all images, a file for each batch, and write the table."""
    model = small_mixture()
    make_folder(out)
    found: dict[str, Array] = {}
    for name, guidance in METHODS.items():
        parts = []
        for first in range(0, 2 * PAIRS, BATCH):
            path = out / f"{name}-{first:04d}.npz"
            kept = kept_arrays(path)
            if kept is None:
                kept = {"judged": judged(model, draw(model, guidance, first, BATCH, SEED), first)}
                write_atomically(path, pack_arrays(kept))
                print(f"{name}: {first + BATCH} of {2 * PAIRS}", flush=True)
            parts.append(kept["judged"])
        found[name] = np.concatenate(parts)
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        kinds = ("distance", "agreement")
        writer.writerow(["pair", *(f"{name} {kind}" for name in METHODS for kind in kinds)])
        for j in range(PAIRS):
            numbers = (x for name in METHODS for x in found[name][j])
            writer.writerow([j, *(f"{x:.6g}" for x in numbers)])


def equivalence(a: Array, b: Array) -> tuple[Estimate, float]:
    """Mean of a − b over the mean of b with its 90 % interval, and the p-value of two one-sided
    tests that it lies within ± MARGIN."""
    gap = (a - b) / b.mean()
    value, error = float(gap.mean()), float(gap.std(ddof=1) / math.sqrt(len(gap)))
    outside = max(_above((value + MARGIN) / error), _above((MARGIN - value) / error))
    return Estimate(value, value - 1.6449 * error, value + 1.6449 * error, level=0.9), outside


def _above(z: float) -> float:
    return math.erfc(z / math.sqrt(2)) / 2


def analyse() -> None:
    """Print the registered tests, and what is reported with them."""
    with TABLE.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    column = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    scale = column["conditional distance"].mean()
    for name in METHODS:
        distance = mean_of(column[f"{name} distance"] / scale)
        print(f"{name}: agreement {mean_of(column[f'{name} agreement'])}, distance {distance}")
    gap = mean_of(column["pxp agreement"] - column["plain agreement"])
    print(
        f"agreement, pxp − plain: {gap}; design {'holds' if abs(gap.value) <= DESIGN else 'failed'}"
    )
    tests = [
        equivalence(column["pxp distance"], column[f"{other} distance"])
        for other in ("plain", "conditional")
    ]
    adjusted = holm([p for _, p in tests])
    for name, (found, _), p in zip(("E1", "E2"), tests, adjusted, strict=True):
        outside = found.low > MARGIN or found.high < -MARGIN
        verdict = "equivalent" if p <= ALPHA else "not equivalent" if outside else "undecided"
        print(f"{name}: {found} (90 %), p = {p:.2g} (Holm, 2 tests): {verdict}")


if __name__ == "__main__":
    if sys.argv[1:] == ["pilot"]:
        pilot()
    elif sys.argv[1:2] == ["run"] and len(sys.argv) == 3:
        run(Path(sys.argv[2]))
    elif sys.argv[1:] == ["analyse"]:
        analyse()
    else:
        sys.exit(__doc__)
