"""Scores: every metric by name, with its interval and all that it depends on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diffdescent.base.errors import UserError

from .features import JSON, Features
from .half_sampling import LEAST, HalfSampled, check_resamples, halves, interval
from .metric import METRICS, Metric, Task, compute, metric_name
from .moments import Moments
from .notes import (
    BiasBeyondInterval,
    Note,
    SingularCovariance,
    SingularReference,
    UncheckedReference,
)
from .reference import Reference, make_reference, require_same
from .scored import Score, how, scored

OnScore = Callable[[str, int, int], None]
"""Called with (metric, done, in all) while a metric is computed."""


def possible(images: Features | Reference, reference: Reference | None) -> list[str]:
    """The metrics that these features and this reference allow.

    Args:
        images: of which the metrics would be.
        reference: what they compare with; None for none.

    Returns:
        Names of :data:`METRICS`.
    """
    found = _statistics(images)
    return [name for name in METRICS if _lacking(name, found, reference) is None]


def score(
    images: Features | Reference,
    reference: Reference | None,
    metrics: Sequence[str] | None = None,
    *,
    seed: int = 0,
    resamples: int = 200,
    progress: OnScore | None = None,
) -> list[Score]:
    """Scores of images by their features, each with a 95 % interval from ``resamples`` random
    halves of them.

    Args:
        images: their features by an extractor, or their statistics
            (:func:`diffdescent.evaluate.summarise`); from moments alone there are Fréchet distances
            without intervals.
        reference: what they are compared with, by the same extractor; the Inception Score alone
            needs none.
        metrics: names of :data:`METRICS` or aliases (fid, sfid); None: all that are possible.
        seed: keys the halves (:mod:`diffdescent.evaluate.half_sampling`); no value depends on it.
        resamples: how many halves; 0: no intervals.
        progress: called with (metric, done, in all).

    Returns:
        A score for each metric.

    Raises:
        UserError: an unknown metric, one that these features or this reference do not allow,
            features of another protocol than the reference's, or fewer images than the metric can
            be computed from.
    """
    check_resamples(resamples)
    names = None if metrics is None else list(dict.fromkeys(map(metric_name, metrics)))
    found = _statistics(images)
    if reference is not None:
        require_same(found.protocol, reference.protocol, reference.name)
    for name in names or ():
        lacking = _lacking(name, found, reference)
        if lacking is not None:
            raise UserError(f"{METRICS[name].title} cannot be computed: {lacking}.")
    n = found.count
    if n is None:
        raise UserError(
            f"{found.name} does not say how many images it was made of; give the images themselves."
        )
    masks = (
        halves(n, resamples, seed)
        if resamples > 0 and n >= LEAST and found.features is not None
        else None
    )
    # The Inception Score looks at no reference, but a task has one.
    against = reference or Reference(Moments(torch.zeros(0), torch.zeros(0, 0), None))
    chosen = possible(found, reference) if names is None else names
    return [_one(name, found, n, against, masks, seed, progress) for name in chosen]


def check_against(metrics: Sequence[str], reference: Reference) -> None:
    """Whether ``reference`` has what ``metrics`` need.

    Args:
        metrics: names of :data:`METRICS`.
        reference: what they compare with.

    Raises:
        UserError: where something is missing.
    """
    for name in metrics:
        against = METRICS[name].against
        if against is not None and not _has(reference, against):
            raise UserError(f"{METRICS[name].title} cannot be computed: {_lacks(name, reference)}.")


def _lacks(name: str, reference: Reference) -> str:
    what = _WHAT[METRICS[name].against or ""]
    return (
        f"it looks at {what}, which {reference.name} does not have; give a"
        f" folder, zip or npz of images as the reference, or leave {name!r} out"
    )


def _statistics(images: Features | Reference) -> Reference:
    return images if isinstance(images, Reference) else make_reference(images, "the images")


def _one(
    name: str,
    images: Reference,
    n: int,
    reference: Reference,
    masks: Tensor | None,
    seed: int,
    progress: OnScore | None,
) -> Score:
    metric = METRICS[name]

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(name, done, total)

    report(0, 1)
    value, over = compute(metric, Task(images, reference, masks, report))
    report(1, 1)
    found = None if over is None else interval(value, over, n, metric.bounds)
    bias = (
        found.bias
        if found is not None and metric.biased and not _singular(metric, images)
        else None
    )
    protocol: dict[str, JSON] = {
        "metric": name,
        **metric.options,
        "features": dict(images.protocol),
    }
    notes: tuple[Note, ...] = ()
    if metric.against is not None:
        protocol["reference"] = {"name": reference.name, "count": reference.count}
        notes = _notes(metric, images, reference, value, found)
    if masks is not None:
        protocol["interval"] = how(masks, seed)
    return scored(name, value, n, protocol, found, bias, notes)


def _lacking(name: str, images: Reference, reference: Reference | None) -> str | None:
    """Why a metric cannot be computed; None when it can."""
    metric = METRICS[name]
    if not _has(images, metric.needs):
        what = _WHAT[metric.needs]
        return f"it looks at {what}, which {images.name} do not have; leave {name!r} out"
    if metric.against is None:
        return None
    if reference is None:
        return "there is nothing to compare with; give a reference"
    if not _has(reference, metric.against):
        return _lacks(name, reference)
    if metric.against != "pool":
        return None
    fewest = min(len(images.pool), len(reference.pool))
    if fewest >= metric.least:
        return None
    return f"it needs at least {metric.least} images on each side, not {fewest}"


_WHAT = {
    "spatial": "a spatial map",
    "probs": "class probabilities",
    "labels": "the class asked for",
    "pool": "single images",
}


def _has(side: Reference, what: str) -> bool:
    if what == "probs":
        return side.features is not None and side.features.probs is not None
    if what == "labels":
        return (
            _has(side, "probs") and side.features is not None and side.features.labels is not None
        )
    return {
        "moments": True,
        "spatial": side.spatial is not None,
        "pool": side.features is not None,
    }[what]


def _dimension(metric: Metric, images: Reference) -> int:
    """The features whose covariance is compared."""
    return ((images.spatial if metric.needs == "spatial" else None) or images.moments).dimension


def _singular(metric: Metric, images: Reference) -> bool:
    """Whether there are no more images than features. The bias then falls in no known way with
    their number."""
    if metric.needs not in ("moments", "spatial"):
        return False
    return images.count is not None and images.count <= _dimension(metric, images)


def _notes(
    metric: Metric, images: Reference, reference: Reference, value: float, found: HalfSampled | None
) -> tuple[Note, ...]:
    notes: list[Note] = []
    if not reference.protocol:
        notes.append(UncheckedReference(reference.name))
    if metric.biased:
        dimension, count = _dimension(metric, images), images.count
        if count is not None and _singular(metric, images):
            notes.append(SingularCovariance(count, dimension))
        elif count is not None and found is not None and found.bias > found.high - value:
            notes.append(BiasBeyondInterval(count, found.bias))
        if reference.count is not None and reference.count <= dimension:
            notes.append(SingularReference(reference.count, dimension))
    return tuple(notes)
