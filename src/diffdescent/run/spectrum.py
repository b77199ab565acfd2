"""Images of a model itself, to measure its power spectrum on."""

from __future__ import annotations

from torch import Tensor

from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.models.adapt import as_model

from .sampling import sample

STEPS = 20


def own_images(model: Predictor | str, n: int, seed: int = 0) -> Tensor:
    """``n`` samples of a model in 20 steps, all of its classes in turn, (n, C, H, W)."""
    net = as_model(model)
    labels = "cycle" if info(net).conditional else None
    return sample(net, "unipc", steps=STEPS, n=n, seed=seed, labels=labels, progress=False).images
