"""Precision and recall by nearest neighbours."""

from __future__ import annotations

import torch

from .. import precision_recall
from ..features import JSON
from ..metric import Metric, Task, Values

_OPTIONS: dict[str, JSON] = {"k": precision_recall.K}


def _precision(task: Task) -> Values:
    real = precision_recall.precision(
        task.images.pool, task.reference.pool, radius=task.reference.radii
    ).double()
    masks = task.masks
    return float(real.mean()), None if masks is None else masks.double() @ real / masks.sum(1)


def _recall(task: Task) -> Values:
    found = precision_recall.coverage(task.images.pool, task.reference.pool)
    value = precision_recall.recall(found)
    if task.masks is None:
        return value, None
    return value, torch.tensor(
        [precision_recall.recall(found, mask) for mask in task.masks], dtype=torch.float64
    )


PRECISION = Metric(
    "precision",
    "Precision",
    higher=True,
    needs="pool",
    against="pool",
    compute=_precision,
    bounds=(0.0, 1.0),
    least=precision_recall.K + 1,
    options=_OPTIONS,
    aliases=("p",),
)
RECALL = Metric(
    "recall",
    "Recall",
    higher=True,
    needs="pool",
    against="pool",
    compute=_recall,
    bounds=(0.0, 1.0),
    least=precision_recall.K + 1,
    options=_OPTIONS,
    aliases=("r",),
)
