"""Scores: every metric by name, with its interval and all that it depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UserError, unknown
from . import inception_score, kid, precision_recall, wasserstein
from .features import JSON, Features
from .frechet import factor, frechet_distance, over_halves
from .halves import LEAST, halves, interval
from .moments import Moments, moments_of
from .reference import Reference, require_same

OnScore = Callable[[str, int, int], None]
"""Called with (metric, done, in all) while a metric is computed."""


@dataclass(frozen=True)
class Score:
    """One metric of a set of images.

    ``low`` and ``high`` are its 95 % interval (None where there is none), for its expectation at this ``count``
    against this reference; ``bias`` estimates how much that expectation exceeds the one at infinitely many images.
    ``protocol`` is all that the value depends on besides the images; ``notes`` is what a reader should beware of.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    count: int
    protocol: dict[str, JSON]
    bias: float | None = None
    notes: tuple[str, ...] = ()


class Task(NamedTuple):
    """What a metric is computed from: ``masks`` are the halves of its interval, None where none is wanted."""

    features: Features
    reference: Reference
    masks: Tensor | None
    report: Callable[[int, int], None]


Values = tuple[float, Tensor | None]
"""A metric on all images, and on each half."""


@dataclass(frozen=True)
class Metric:
    """A metric by name: its ``title``, whether ``higher`` is better, and how it is computed.

    ``needs`` are what it looks at: "pool", "spatial" or "probs" of the features, and with ``against`` what of the
    reference: "moments", "spatial" or "pool". ``biased``: its expectation depends on the number of images like 1/n.
    ``options`` are its part of the protocol.
    """

    title: str
    higher: bool
    needs: str
    against: str | None
    compute: Callable[[Task], Values] = field(repr=False)
    biased: bool = False
    options: Mapping[str, JSON] = field(default_factory=dict)


def _frechet(x: Tensor, reference: Moments, task: Task) -> Values:
    value = frechet_distance(moments_of(x), reference)
    if task.masks is None:
        return value, None
    return value, over_halves(x, reference, factor(reference.sigma), task.masks, task.report)


def _fd(task: Task) -> Values:
    return _frechet(task.features.pool, task.reference.moments, task)


def _sfd(task: Task) -> Values:
    assert task.features.spatial is not None
    assert task.reference.spatial is not None
    return _frechet(task.features.spatial, task.reference.spatial, task)


def _is(task: Task) -> Values:
    assert task.features.probs is not None
    value = inception_score.inception_score(task.features.probs)
    return value, None if task.masks is None else inception_score.over_halves(task.features.probs, task.masks)


def _kid(task: Task) -> Values:
    x, y, known = task.features.pool, task.reference.pool, task.reference.kernel_mean
    if task.masks is None:
        return kid.kid(x, y, pairs_y=known), None
    # The whole is one more mask, so that the kernel's blocks are made once.
    values = kid.over_halves(x, y, torch.cat([task.masks, torch.ones_like(task.masks[:1])]), pairs_y=known)
    return float(values[-1]), values[:-1]


def _precision(task: Task) -> Values:
    real = precision_recall.precision(task.features.pool, task.reference.pool, reach=task.reference.radii).double()
    masks = task.masks
    return float(real.mean()), None if masks is None else masks.double() @ real / masks.sum(1)


def _recall(task: Task) -> Values:
    found = precision_recall.coverage(task.features.pool, task.reference.pool)
    value = precision_recall.recall(found)
    if task.masks is None:
        return value, None
    return value, torch.tensor([precision_recall.recall(found, mask) for mask in task.masks], dtype=torch.float64)


_FRECHET: dict[str, JSON] = {"covariance": "n − 1", "trace": "eigenvalues, float64"}
_NEIGHBOURS: dict[str, JSON] = {"k": precision_recall.K}

METRICS: dict[str, Metric] = {
    "fd": Metric("Fréchet distance", False, "pool", "moments", _fd, True, _FRECHET),
    "sfd": Metric("Spatial Fréchet distance", False, "spatial", "spatial", _sfd, True, _FRECHET),
    "is": Metric("Inception Score", True, "probs", None, _is, True, {"split": inception_score.SPLIT}),
    "precision": Metric("Precision", True, "pool", "pool", _precision, options=_NEIGHBOURS),
    "recall": Metric("Recall", True, "pool", "pool", _recall, options=_NEIGHBOURS),
    "kid": Metric(
        "Kernel distance (KID)", False, "pool", "pool", _kid,
        options={"kernel": "(x·y/d + 1)³", "estimator": "unbiased, all pairs"},
    ),
}  # fmt: skip
"""Every metric that looks at features."""

ALIASES = {"fid": "fd", "sfid": "sfd", "inception_score": "is", "p": "precision", "r": "recall"}


def metric_name(name: str) -> str:
    """The name in :data:`METRICS` of a metric or alias. Raises :class:`UserError` for any other, with the nearest."""
    plain = name.strip().lower()
    plain = ALIASES.get(plain, plain)
    if plain not in METRICS:
        raise unknown("metric", name.strip(), METRICS, ALIASES)
    return plain


def possible(features: Features, reference: Reference | None) -> list[str]:
    """The metrics that these features and this reference allow."""
    return [name for name in METRICS if _lacking(name, features, reference) is None]


def score(
    features: Features,
    reference: Reference | None,
    metrics: Sequence[str] | None = None,
    *,
    seed: int = 0,
    resamples: int = 200,
    progress: OnScore | None = None,
) -> list[Score]:
    """Scores of images by their ``features``, each with a 95 % interval from ``resamples`` random halves of them.

    Args:
        features: of the images, by an extractor.
        reference: what they are compared with, by the same extractor; the Inception Score alone needs none.
        metrics: names of :data:`METRICS` or aliases (fid, sfid); None: all that are possible.
        seed: keys the halves (:mod:`diffdescent.evaluate.halves`); no value depends on it.
        resamples: how many halves; 0: no intervals.
        progress: called with (metric, done, in all).

    Raises:
        UserError: an unknown metric, one that these features or this reference do not allow, features of another
            protocol than the reference's, or fewer images than the metric can be computed from.
    """
    names = possible(features, reference) if metrics is None else list(dict.fromkeys(map(metric_name, metrics)))
    if reference is not None:
        require_same(features.protocol, reference.protocol, reference.name)
    for name in names:
        lacking = _lacking(name, features, reference)
        if lacking is not None:
            raise UserError(f"{METRICS[name].title} cannot be computed: {lacking}.")
    n = len(features)
    masks = halves(n, resamples, seed) if resamples > 0 and n >= LEAST else None
    # The Inception Score looks at no reference, but a task has one.
    against = reference or Reference(Moments(torch.zeros(0), torch.zeros(0, 0), None))
    return [_one(name, features, against, masks, seed, progress) for name in names]


def _one(
    name: str, features: Features, reference: Reference, masks: Tensor | None, seed: int, progress: OnScore | None
) -> Score:
    metric, n = METRICS[name], len(features)

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(name, done, total)

    report(0, 1)
    value, over = metric.compute(Task(features, reference, masks, report))
    report(1, 1)
    found = None if over is None else interval(value, over, n)
    bias = found.bias if found is not None and metric.biased else None
    protocol: dict[str, JSON] = {"metric": name, **metric.options, "features": dict(features.protocol)}
    notes: tuple[str, ...] = ()
    if metric.against is not None:
        protocol["reference"] = {"name": reference.name, "count": reference.count}
        notes = _notes(metric, features, reference, bias)
    if masks is not None:
        protocol["interval"] = _how(masks, seed)
    low, high = (None, None) if found is None else (found.low, found.high)
    return Score(name, value, low, high, n, protocol, bias, notes)


def _lacking(name: str, features: Features, reference: Reference | None) -> str | None:
    """Why a metric cannot be computed; None when it can."""
    metric = METRICS[name]
    if getattr(features, metric.needs) is None:
        what = {"spatial": "a spatial map", "probs": "class probabilities"}[metric.needs]
        return f"it needs {what}, which these features have not; leave {name!r} out or take another extractor"
    if metric.against is None:
        return None
    if reference is None:
        return "there is nothing to compare with; give a reference"
    if metric.against == "spatial" and reference.spatial is None:
        return f"{reference.name} has no spatial statistics; give images or an ADM file as the reference"
    least = precision_recall.K + 1 if name in ("precision", "recall") else 2
    counts = [len(features)]
    if metric.against == "pool":
        if reference.features is None:
            return (
                f"{reference.name} holds only means and covariances, and this metric looks at single images; give a "
                f"folder, zip or npz of images as the reference, or leave {name!r} out"
            )
        counts.append(len(reference.features))
    if min(counts) < least:
        return f"it needs at least {least} images on each side, not {min(counts)}"
    return None


def _notes(metric: Metric, features: Features, reference: Reference, bias: float | None) -> tuple[str, ...]:
    notes = []
    if not reference.protocol:
        notes.append(f"{reference.name} does not say how it was made; that it fits these features is not checked")
    if metric.biased:
        dimension = getattr(features, metric.needs).shape[1]
        about = "" if bias is None else f", here by about {bias:.3g}"
        if len(features) <= dimension:
            notes.append(
                f"{len(features)} images for {dimension} features: their covariance is singular and the distance is "
                f"too large{about}; compare with equal numbers of images only, or give more than {dimension}"
            )
        if reference.count is not None and reference.count <= dimension:
            notes.append(
                f"the reference has {reference.count} images for {dimension} features: its covariance is singular and "
                "the distance is too large"
            )
    return tuple(notes)


def score_exact(
    images: Tensor, exact: Tensor, *, seed: int = 0, resamples: int = 200, directions: int = 256
) -> list[Score]:
    """On exact models: "rmse" to the exact solutions ``exact`` (n, …) from the same noise, and "swd", the sliced
    Wasserstein distance of ``images`` (n, …) as a set to that of the exact solutions.

    Both in pixel units, with intervals as in :func:`score`. RMSE judges the path of each image, SWD only where all of
    them end up. Raises :class:`UserError` for different shapes.
    """
    errors = wasserstein.squared_errors(images, exact)
    f, g = wasserstein.projections(images, exact, directions, seed)
    n = len(images)
    rmse, swd = float(errors.mean().sqrt()), wasserstein.distance_along(f, g)
    options: dict[str, JSON] = {"against": "exact solutions from the same noise"}
    along: dict[str, JSON] = {"metric": "swd", "directions": directions, "p": 2, "seed": seed, **options}
    if resamples < 1 or n < LEAST:
        return [
            Score("rmse", rmse, None, None, n, {"metric": "rmse", **options}),
            Score("swd", swd, None, None, n, along),
        ]
    masks = halves(n, resamples, seed)
    each = torch.tensor([wasserstein.distance_along(f[mask], g) for mask in masks], dtype=torch.float64)
    a, b = interval(rmse, (masks.double() @ errors / masks.sum(1)).sqrt(), n), interval(swd, each, n)
    how = {"interval": _how(masks, seed)}
    return [
        Score("rmse", rmse, a.low, a.high, n, {"metric": "rmse", **options, **how}),
        Score("swd", swd, b.low, b.high, n, {**along, **how}),
    ]


def _how(masks: Tensor, seed: int) -> dict[str, JSON]:
    return {"method": "random halves", "resamples": len(masks), "seed": seed}
