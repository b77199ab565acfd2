"""The kernel distance (KID)."""

from __future__ import annotations

import math

import torch

from .. import kid
from ..metric import Metric, Task, Values


def _compute(task: Task) -> Values:
    x, y, known = task.images.pool, task.reference.pool, task.reference.kernel_mean
    if task.masks is None:
        return kid.kid(x, y, pairs_y=known), None
    # The whole is one more mask, so that the kernel's blocks are made once.
    values = kid.over_halves(
        x, y, torch.cat([task.masks, torch.ones_like(task.masks[:1])]), pairs_y=known
    )
    return float(values[-1]), values[:-1]


KERNEL = Metric(
    "kid",
    "Kernel distance (KID)",
    higher=False,
    needs="pool",
    against="pool",
    compute=_compute,
    bounds=(-math.inf, math.inf),
    options={"kernel": "(x·y/d + 1)³", "estimator": "unbiased, all pairs"},
)
