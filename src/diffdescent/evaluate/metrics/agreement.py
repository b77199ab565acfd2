"""How often an image shows the class that it was asked to show."""

from __future__ import annotations

from ..metric import Metric, Task, Values


def _compute(task: Task) -> Values:
    assert task.images.features is not None
    probs, labels = task.images.features.probs, task.images.features.labels
    assert probs is not None
    assert labels is not None
    right = (probs.argmax(1) == labels).double()
    return float(right.mean()), (
        None if task.masks is None else task.masks.double() @ right / task.masks.sum(1)
    )


AGREEMENT = Metric(
    "agreement",
    "Agreement with the class asked for",
    higher=True,
    needs="labels",
    against=None,
    compute=_compute,
    bounds=(0.0, 1.0),
)
