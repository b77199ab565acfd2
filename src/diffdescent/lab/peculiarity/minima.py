"""Is a peculiar image a local minimum? Measurements, for peculiar against normal outputs.

1. How nearly a fixed point: ‖D(x, σ) − x‖ / (σ√n) for small σ.
2. Whether it comes back: noised to a level and denoised again, is it read as before, and how far
  has it moved?
3. How far it is from the training images: the distance to the nearest one, ‖x − x_i‖ / √n.
4. The exact log-density, where the model knows it: exact denoisers do, a trained network does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.images import to_uint8
from diffdescent.core.predict import Predictor
from diffdescent.models.exact import Density
from diffdescent.run import sample
from diffdescent.run.pieces import Arrays, Pieces, model_identity

from .counter import count_limbs
from .thresholds import thresholds

Array = npt.NDArray[np.float64]

RATIOS = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Noise levels σ/α of the fixed-point figure, in units of an image in [−1, 1]."""
STRENGTHS = (0.2, 0.4, 0.6, 0.8)
"""Times of the return figure, as shares of the whole process."""
BLOCK = 50
"""Images of a kept piece."""


@torch.no_grad()
def fixed_point_error(
    model: Predictor, images: Tensor, ratio: float, labels: Tensor | None = None, batch: int = 50
) -> Array:
    """‖D(x, σ) − x‖ / (σ√n) of each image, σ the noise over the signal; no noise is added to x.

    0 at a point that the denoiser leaves where it is; about 1 where it takes x for an image with
    noise σ.
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
    """Images noised to time ``strength`` (a share of the process), then denoised by DDIM; uint8 (n,
    C, H, W).

    About ``steps`` evaluations each. Image i gets the noise of sample ``first`` + i.
    """
    done = sample(
        model,
        "ddim",
        grid="uniform(spacing=trailing)",
        steps=max(steps, round(steps / strength)),
        seed=seed,
        samples=range(first, first + len(images)),
        init=images,
        strength=strength,
        labels=labels,
        micro_batch=50,
        progress=False,
    )
    return to_uint8(done.images)


def nearest_distance(
    images: npt.NDArray[np.uint8], training: npt.NDArray[np.uint8], batch: int = 250
) -> Array:
    """Root mean square difference, in the units of [−1, 1], to the nearest training image or its
    mirror image."""
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


@torch.no_grad()
def log_density(model: Predictor, images: Tensor, ratio: float) -> Array | None:
    """log p_σ(x)/n in nats a pixel, at noise over signal ``ratio``; None for a model that does not
    know its density.

    Exact denoisers know it: of the training set noised to σ, the height of the landscape whose
    minima are meant.
    """
    if not isinstance(model, Density):
        return None
    point = model.process.point(float(model.process.t_of_ratio(ratio)))
    x = point.alpha * images.double()
    return np.asarray(model.log_prob(x, point).double().cpu().numpy() / x[0].numel())


@dataclass(frozen=True)
class Minima:
    """What was measured on n images of one kind; arrays are (n,).

    ``errors`` and ``density`` by noise over signal (``density`` is empty where the model does not
    know it). By strength that images were noised to and denoised from: ``moved``, the root mean
    square change, ``same``, whether an image is read as before, ``normal`` and ``peculiar``, how it
    is read then. ``nearest``: the distance to the training images, empty without them.
    """

    kind: str
    n: int
    errors: dict[float, Array]
    density: dict[float, Array]
    moved: dict[float, Array]
    same: dict[float, Array]
    normal: dict[float, Array]
    peculiar: dict[float, Array]
    nearest: Array


def minima(
    model: Predictor,
    images: npt.NDArray[np.uint8],
    kind: str,
    labels: npt.NDArray[np.int64] | None = None,
    *,
    ratios: Sequence[float] = RATIOS,
    strengths: Sequence[float] = STRENGTHS,
    seed: int = 0,
    training: npt.NDArray[np.uint8] | None = None,
    pieces: Pieces | None = None,
) -> Minima:
    """All figures for uint8 images (n, H, W) of one kind, which ``labels`` (n,) were asked for.

    ``pieces`` keeps what is made, ``BLOCK`` images a piece. ``training`` (m, H, W): distances are
    to them.

    Raises:
        UserError: fewer than two images.
    """
    if len(images) < 2:
        raise UserError(
            f"There are {len(images)} {kind} images, too few to measure; take more samples."
        )
    cond = None if labels is None or (labels < 0).any() else torch.from_numpy(labels)
    keep = pieces or Pieces(None)
    base = {"model": model_identity(model), "seed": seed, "counter": thresholds()}
    found: list[Arrays] = []
    for start in range(0, len(images), BLOCK):
        some = images[start : start + BLOCK]
        given = None if cond is None else cond[start : start + BLOCK]
        asked = hashlib.sha256(
            some.tobytes() + (b"" if given is None else given.numpy().tobytes())
        ).hexdigest()[:20]
        settings = {
            **base,
            "images": asked,
            "first": start,
            "ratios": list(ratios),
            "strengths": list(strengths),
        }
        found.append(
            keep.get(
                "minima",
                settings,
                partial(_measure, model, some, given, ratios, strengths, seed, start),
            )
        )
    whole = {name: np.concatenate([f[name] for f in found], axis=-1) for name in found[0]}
    by_ratio = {
        name: dict(zip(ratios, whole[name], strict=True))
        for name in ("errors", "density")
        if name in whole
    }
    by_strength = {
        name: dict(zip(strengths, whole[name], strict=True))
        for name in ("moved", "same", "normal", "peculiar")
    }
    return Minima(
        kind, len(images), by_ratio["errors"], by_ratio.get("density", {}), **by_strength,
        nearest=np.empty(0) if training is None else nearest_distance(images, training),
    )  # fmt: skip


def _measure(
    model: Predictor,
    images: npt.NDArray[np.uint8],
    labels: Tensor | None,
    ratios: Sequence[float],
    strengths: Sequence[float],
    seed: int,
    first: int,
) -> Arrays:
    x = torch.from_numpy(images)[:, None].float().div(127.5).sub(1)
    before = count_limbs(images)
    found: dict[str, list[npt.NDArray[Any]]] = {
        "errors": [fixed_point_error(model, x, ratio, labels) for ratio in ratios]
    }
    densities = [d for ratio in ratios if (d := log_density(model, x, ratio)) is not None]
    if densities:
        found["density"] = densities
    for strength in strengths:
        back = come_back(model, x, strength, labels, seed=seed, first=first)
        after = count_limbs(back)
        change = (back[:, 0].numpy().astype(float) - images) / 127.5
        for name, values in (
            ("moved", np.sqrt((change**2).mean((1, 2)))),
            ("same", (after.counts == before.counts).all(1)),
            ("normal", after.readable & ~after.peculiar),
            ("peculiar", after.peculiar),
        ):
            found.setdefault(name, []).append(values)
    return {name: np.stack(values) for name, values in found.items()}
