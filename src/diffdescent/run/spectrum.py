"""Images of a model itself, to measure its power spectrum on."""

from __future__ import annotations

import torch
from torch import Tensor

from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.models.adapt import as_model

from .sampling import sample

STEPS = 20


def own_images(
    model: Predictor | str,
    n: int,
    seed: int = 0,
    *,
    micro_batch: int | None = None,
    device: torch.device | str | None = None,
) -> Tensor:
    """``n`` samples of a model in 20 steps, all of its classes in turn, (n, C, H, W) on the CPU."""
    net = as_model(model, device)
    labels = "cycle" if info(net).conditional else None
    return sample(
        net, "unipc", steps=STEPS, n=n, seed=seed, labels=labels, micro_batch=micro_batch,
        device=device, progress=False,
    ).images.cpu()  # fmt: skip
