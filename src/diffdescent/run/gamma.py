"""Γ of Analytic-DPM, measured on a model: on given images, or on samples of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.core.executor import Query
from diffdescent.core.model_info import info
from diffdescent.core.predict import Prediction, Predictor
from diffdescent.core.process import Point
from diffdescent.core.solvers.gamma import Gamma, residual
from diffdescent.models.adapt import as_model

from .inputs import Labels, resolve_labels
from .micro_batch import evaluate, micro_batch_width
from .sampling import sample

BATCH = 64


class _InMicroBatches:
    """The model, evaluated at the width that its runs have."""

    def __init__(self, model: Predictor, width: int) -> None:
        self.model, self.process, self.shape = model, model.process, model.shape
        self.width = width

    def __call__(self, x: Tensor, point: Point, cond: Tensor | None = None) -> Prediction:
        return evaluate(self.model, Query(x, point, 0, 0), cond, self.width)


def gamma_times(model: Predictor, count: int) -> tuple[float, ...]:
    """``count`` times over the model's range, ascending: trained ones where these are discrete."""
    process = model.process
    times = process.snapped(np.linspace(process.t_min, process.t_max, count))
    return tuple(np.unique(times).tolist())


@torch.no_grad()
def measure_gamma(
    model: Predictor | str,
    images: Tensor | None = None,
    *,
    labels: Labels | None = None,
    n: int = 256,
    times: int = 100,
    seed: int = 0,
    micro_batch: int | None = None,
    device: torch.device | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Gamma:
    """Γ(t) = 1 − E‖z − ε̂(α x0 + σ z, t)‖²/d, which is E‖ε̂‖²/d for an exact ε̂ (Bao et al. 2022,
    eq. 8; see :func:`~diffdescent.core.solvers.gamma.residual`), with the model's fingerprint.

    Args:
        model: a model, or its name or path.
        images: x0, (N, C, H, W) in [−1, 1]; None draws ``n`` samples of the model itself with
            ``dpmpp`` in 50 steps.
        labels: of the images; None: all classes in turn for samples of a model that knows labels.
        n: how many images are used.
        times: at how many times Γ is measured; in between it is linear.
        seed: of the noise.
        micro_batch: how many samples the network sees at once.
        device: where to run; None asks the model.
        progress: called with (evaluations of one image done, in all).

    Raises:
        UserError: no image or time, or images of another shape than the model's.
    """
    net = as_model(model, device)
    where = pick_device(device if device is not None else info(net).device)
    width = micro_batch_width(net, where, micro_batch)
    if n < 1 or times < 2:
        raise UserError(f"Γ needs at least one image and two times, not {n} and {times}.")
    if images is None:
        if labels is None and info(net).conditional:
            labels = "cycle"
        images = sample(
            net, "dpmpp", steps=50, n=n, seed=seed, labels=labels, micro_batch=micro_batch,
            device=where, progress=False,
        ).images  # fmt: skip
    elif net.shape is not None and tuple(images.shape[1:]) != net.shape:
        raise UserError(
            f"The images have the shape {tuple(images.shape[1:])}, and the model's is {net.shape};"
            " resize them."
        )
    images = images[:n].to(where)
    cond = resolve_labels(labels, tuple(range(len(images))), net)
    cond = None if cond is None else cond.to(where)
    at = gamma_times(net, times)
    squares = _residuals(_InMicroBatches(net, width), images, cond, at, seed, progress)
    return Gamma(at, tuple((1 - squares.mean(0)).tolist()), info(net).fingerprint)


def _residuals(
    model: Predictor,
    images: Tensor,
    cond: Tensor | None,
    times: Sequence[float],
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> Tensor:
    """Mean squared errors of ε of each image at each time, float64 (N, times)."""
    found = []
    for begin in range(0, len(images), BATCH):
        part = slice(begin, begin + BATCH)
        labels = None if cond is None else cond[part]
        squares = residual(model, images[part], times, seed=seed, first=begin, cond=labels)
        found.append(squares.double())
        if progress is not None:
            done = min(begin + BATCH, len(images))
            progress(done * len(times), len(images) * len(times))
    return torch.cat(found)
