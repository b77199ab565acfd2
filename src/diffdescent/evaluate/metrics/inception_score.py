"""The Inception Score."""

from __future__ import annotations

import math

from .. import inception_score
from ..metric import Metric, Task, Values


def _compute(task: Task) -> Values:
    assert task.images.features is not None
    probs = task.images.features.probs
    assert probs is not None
    value = inception_score.inception_score(probs)
    return value, None if task.masks is None else inception_score.over_halves(probs, task.masks)


INCEPTION_SCORE = Metric(
    "is",
    "Inception Score",
    higher=True,
    needs="probs",
    against=None,
    compute=_compute,
    bounds=(1.0, math.inf),
    biased=True,
    options={"split": inception_score.SPLIT},
    aliases=("inception_score",),
)
