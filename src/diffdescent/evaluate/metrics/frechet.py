"""The Fréchet distances of pooled and of spatial features."""

from __future__ import annotations

from torch import Tensor

from ..features import JSON
from ..frechet import factor, frechet_distance, over_halves
from ..metric import Metric, Task, Values
from ..moments import Moments

_OPTIONS: dict[str, JSON] = {"covariance": "n − 1", "trace": "eigenvalues, float64"}


def _between(x: Tensor | None, a: Moments, b: Moments, task: Task) -> Values:
    value = max(frechet_distance(a, b), 0.0)  # of equal sets, rounding leaves less
    if x is None or task.masks is None:
        return value, None
    return value, over_halves(x, b, factor(b.sigma), task.masks, task.report)


def _pooled(task: Task) -> Values:
    x = task.images.features
    return _between(
        None if x is None else x.pool, task.images.moments, task.reference.moments, task
    )


def _spatial(task: Task) -> Values:
    x, a, b = task.images.features, task.images.spatial, task.reference.spatial
    assert a is not None
    assert b is not None
    return _between(None if x is None else x.spatial, a, b, task)


FRECHET = Metric(
    "fd",
    "Fréchet distance",
    higher=False,
    needs="moments",
    against="moments",
    compute=_pooled,
    biased=True,
    options=_OPTIONS,
    aliases=("fid",),
)
SPATIAL_FRECHET = Metric(
    "sfd",
    "Spatial Fréchet distance",
    higher=False,
    needs="spatial",
    against="spatial",
    compute=_spatial,
    biased=True,
    options=_OPTIONS,
    aliases=("sfid",),
)
