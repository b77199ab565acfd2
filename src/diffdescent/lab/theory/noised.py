"""How far the projection of a noised image lies from where it came from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffdescent.core.noise import normals
from diffdescent.core.process import Array

from .sets import Set


@dataclass(frozen=True)
class Noised:
    """Images of a set noised to several σ̃, projected back: (levels, images) arrays.

    ``error`` is ‖proj(x_0 + σ̃ε) − x_0‖, ``distance`` dist(x_0 + σ̃ε); ``size`` is n, ``dimension``
    and ``reach`` the set's.
    """

    sigmas: Array
    error: Array
    distance: Array
    size: int
    dimension: float | None
    reach: float


def noised_projection(k: Set, images: Tensor, sigmas: Sequence[float], *, seed: int = 0) -> Noised:
    """Statement 5 of the theory measured: for reach(K) ≳ σ̃√n the projection of x_0 + σ̃ε lies
    within about σ̃√d of x_0.

    ``images`` (B, *shape) must lie on the set. The same noise is scaled for all levels.
    """
    x0 = images.to(torch.float64)
    which = torch.arange(len(x0), device=x0.device)
    noise = normals(seed, which, x0.shape[1:], 0, dtype=torch.float64)
    errors, distances = [], []
    for sigma in sigmas:
        found = k.project(x0 + sigma * noise)
        errors.append((found.nearest - x0).flatten(1).norm(dim=1))
        distances.append(found.distance)
    error, distance = (torch.stack(parts).cpu().numpy() for parts in (errors, distances))
    levels = np.asarray(sigmas, dtype=np.float64)
    return Noised(levels, error, distance, math.prod(k.shape), k.dimension, k.reach)
