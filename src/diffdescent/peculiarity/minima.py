"""Is a peculiar image a local minimum? Three measurements, for peculiar against normal outputs.

1. How nearly a fixed point: ‖D(x, σ) − x‖ / (σ√n) for small σ.
2. Whether it comes back: noised to a level and denoised again, is it read as before?
3. How far it is from the training images: the distance to the nearest one, ‖x − x_i‖ / √n.

The exact log-density, the fourth of them, is known for exact denoisers only, not for a trained network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import UserError
from ..images import to_uint8
from ..predict import Predictor
from ..sample import sample
from .counter import count_limbs
from .statistics import Share, wilson

Array = npt.NDArray[np.float64]

RATIOS = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Noise levels σ/α of the fixed-point figure, in units of an image in [−1, 1]."""
STRENGTHS = (0.2, 0.4, 0.6, 0.8)
"""Times of the return figure, as shares of the whole process."""


@torch.no_grad()
def fixed_point_error(
    model: Predictor, images: Tensor, ratio: float, labels: Tensor | None = None, batch: int = 50
) -> Array:
    """‖D(x, σ) − x‖ / (σ√n) of each image, σ the noise over the signal; no noise is added to x.

    0 at a point that the denoiser leaves where it is; about 1 where it takes x for an image with noise σ.
    """
    point = model.process.point(float(model.process.t_of_ratio(ratio)))
    found = []
    for begin in range(0, len(images), batch):
        x = images[begin : begin + batch].float()
        cond = None if labels is None else labels[begin : begin + batch]
        state = point.alpha * x
        moved = model(state, point, cond).to("x0", state).float() - x
        found.append(moved.flatten(1).norm(dim=1) / (point.ratio * x[0].numel() ** 0.5))
    return torch.cat(found).double().numpy()


def come_back(
    model: Predictor,
    images: Tensor,
    strength: float,
    labels: Tensor | None = None,
    *,
    steps: int = 20,
    seed: int = 0,
    first: int = 0,
) -> Tensor:
    """Images noised to time ``strength`` (a share of the process), then denoised by DDIM; uint8 (n, C, H, W).

    About ``steps`` evaluations each. Image i gets the noise of sample ``first`` + i.
    """
    done = sample(
        model, "ddim", grid="uniform(spacing=trailing)", steps=max(steps, round(steps / strength)), seed=seed,
        samples=range(first, first + len(images)), init=images, strength=strength, labels=labels, micro_batch=50,
    )  # fmt: skip
    return to_uint8(done.images)


def nearest_distance(images: npt.NDArray[np.uint8], training: npt.NDArray[np.uint8], batch: int = 250) -> Array:
    """Root mean square difference, in the units of [−1, 1], to the nearest training image or its mirror image."""
    flat = torch.from_numpy(training.reshape(len(training), -1)).float() / 127.5
    shape = images.shape
    squares = flat.square().sum(1)
    best = []
    for begin in range(0, len(images), batch):
        part = images[begin : begin + batch]
        for view in (part, part[:, :, ::-1]):
            x = torch.from_numpy(np.ascontiguousarray(view).reshape(len(part), -1)).float() / 127.5
            best.append((x.square().sum(1, keepdim=True) - 2 * x @ flat.T + squares).min(1).values)
    both = torch.stack([torch.cat(best[0::2]), torch.cat(best[1::2])]).min(0).values
    return (both.clamp(min=0).double() / float(np.prod(shape[1:]))).sqrt().numpy()


@dataclass(frozen=True)
class Return:
    """Of images noised to ``strength`` and denoised: how many are read as before, as a species, as peculiar."""

    strength: float
    same: Share
    normal: Share
    peculiar: Share


@dataclass(frozen=True)
class Minima:
    """The figures of one kind of image: mean fixed-point errors with their standard errors by σ, and the returns."""

    kind: str
    n: int
    errors: dict[float, tuple[float, float]]
    returns: list[Return]


def minima(
    model: Predictor,
    images: npt.NDArray[np.uint8],
    kind: str,
    labels: npt.NDArray[np.int64] | None = None,
    *,
    ratios: Sequence[float] = RATIOS,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
) -> Minima:
    """All figures for uint8 images (n, H, W) of one kind, which ``labels`` (n,) were asked for.

    Raises:
        UserError: fewer than two images.
    """
    if len(images) < 2:
        raise UserError(f"There are {len(images)} {kind} images, too few to measure; take more samples.")
    x = torch.from_numpy(images)[:, None].float().div(127.5).sub(1)
    cond = None if labels is None or (labels < 0).any() else torch.from_numpy(labels)
    before = count_limbs(images)
    errors = {}
    for ratio in ratios:
        each = fixed_point_error(model, x, ratio, cond)
        errors[ratio] = (float(each.mean()), float(each.std(ddof=1) / len(each) ** 0.5))
    returns = []
    for strength in strengths:
        after = count_limbs(come_back(model, x, strength, cond, seed=seed))
        same = int((after.counts == before.counts).all(1).sum())
        odd, n = int(after.peculiar.sum()), len(images)
        normal = int((after.readable & ~after.peculiar).sum())
        returns.append(Return(strength, wilson(same, n), wilson(normal, n), wilson(odd, n)))
    return Minima(kind, len(images), errors, returns)
