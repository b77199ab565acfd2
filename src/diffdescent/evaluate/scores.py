"""Scores: every metric by name, with its interval and all that it depends on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.evaluate.half_sampling import LEAST, HalfSampled, check_resamples, halves, interval

from . import inception_score, kid, precision_recall, wasserstein
from .features import JSON, Features
from .frechet import factor, frechet_distance, over_halves
from .moments import Moments
from .reference import Reference, make_reference, require_same

OnScore = Callable[[str, int, int], None]
"""Called with (metric, done, in all) while a metric is computed."""


@dataclass(frozen=True)
class Score:
    """One metric of a set of images.

    ``low`` and ``high`` are its 95 % interval (None where there is none), for its expectation at
    this ``count`` against this reference; ``bias`` estimates how much that expectation exceeds the
    one at infinitely many images. ``protocol`` is all that the value depends on besides the images;
    ``notes`` is what a reader should beware of. ``draws`` (one for each half, or none) say how the
    value varies, together with those of any other score of as many images: of samplers that start
    from the same noise, the difference varies like the difference of their draws.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    count: int
    protocol: dict[str, JSON]
    bias: float | None = None
    notes: tuple[str, ...] = ()
    draws: tuple[float, ...] = field(default=(), repr=False)


class Task(NamedTuple):
    """What a metric is computed from: the statistics of the images and of the reference.

    ``masks`` are the halves of its interval, None where there are none.
    """

    images: Reference
    reference: Reference
    masks: Tensor | None
    report: Callable[[int, int], None]


Values = tuple[float, Tensor | None]
"""A metric on all images, and on each half."""


@dataclass(frozen=True)
class Metric:
    """A metric by name: its ``title``, whether ``higher`` is better, and how it is computed.

    ``needs`` and ``against`` are what it looks at in the images and in the reference: their
    "moments", "spatial" moments, "pool" (single features), "probs" or "labels" (with probs).
    ``biased``: its expectation depends on the number of images, like 1/n. No value lies beyond
    ``bounds``, and ``options`` are its part of the protocol.
    """

    title: str
    higher: bool
    needs: str
    against: str | None
    compute: Callable[[Task], Values] = field(repr=False)
    bounds: tuple[float, float] = (0.0, math.inf)
    biased: bool = False
    options: Mapping[str, JSON] = field(default_factory=dict)


def _frechet(x: Tensor | None, a: Moments, b: Moments, task: Task) -> Values:
    value = frechet_distance(a, b)
    if x is None or task.masks is None:
        return value, None
    return value, over_halves(x, b, factor(b.sigma), task.masks, task.report)


def _fd(task: Task) -> Values:
    x = task.images.features
    return _frechet(
        None if x is None else x.pool, task.images.moments, task.reference.moments, task
    )


def _sfd(task: Task) -> Values:
    x, a, b = task.images.features, task.images.spatial, task.reference.spatial
    assert a is not None
    assert b is not None
    return _frechet(None if x is None else x.spatial, a, b, task)


def _is(task: Task) -> Values:
    assert task.images.features is not None
    probs = task.images.features.probs
    assert probs is not None
    value = inception_score.inception_score(probs)
    return value, None if task.masks is None else inception_score.over_halves(probs, task.masks)


def _agreement(task: Task) -> Values:
    assert task.images.features is not None
    probs, labels = task.images.features.probs, task.images.features.labels
    assert probs is not None
    assert labels is not None
    right = (probs.argmax(1) == labels).double()
    return float(right.mean()), (
        None if task.masks is None else task.masks.double() @ right / task.masks.sum(1)
    )


def _kid(task: Task) -> Values:
    x, y, known = task.images.pool, task.reference.pool, task.reference.kernel_mean
    if task.masks is None:
        return kid.kid(x, y, pairs_y=known), None
    # The whole is one more mask, so that the kernel's blocks are made once.
    values = kid.over_halves(
        x, y, torch.cat([task.masks, torch.ones_like(task.masks[:1])]), pairs_y=known
    )
    return float(values[-1]), values[:-1]


def _precision(task: Task) -> Values:
    real = precision_recall.precision(
        task.images.pool, task.reference.pool, reach=task.reference.radii
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


_FRECHET: dict[str, JSON] = {"covariance": "n − 1", "trace": "eigenvalues, float64"}
_NEIGHBOURS: dict[str, JSON] = {"k": precision_recall.K}

METRICS: dict[str, Metric] = {
    "fd": Metric(
        "Fréchet distance", False, "moments", "moments", _fd, biased=True, options=_FRECHET
    ),
    "sfd": Metric(
        "Spatial Fréchet distance", False, "spatial", "spatial", _sfd, biased=True, options=_FRECHET
    ),
    "is": Metric(
        "Inception Score",
        True,
        "probs",
        None,
        _is,
        (1.0, math.inf),
        True,
        {"split": inception_score.SPLIT},
    ),
    "agreement": Metric(
        "Agreement with the class asked for", True, "labels", None, _agreement, (0.0, 1.0)
    ),
    "precision": Metric(
        "Precision", True, "pool", "pool", _precision, (0.0, 1.0), options=_NEIGHBOURS
    ),
    "recall": Metric("Recall", True, "pool", "pool", _recall, (0.0, 1.0), options=_NEIGHBOURS),
    "kid": Metric(
        "Kernel distance (KID)",
        False,
        "pool",
        "pool",
        _kid,
        (-math.inf, math.inf),
        options={"kernel": "(x·y/d + 1)³", "estimator": "unbiased, all pairs"},
    ),
}
"""Every metric that looks at features."""

ALIASES = {"fid": "fd", "sfid": "sfd", "inception_score": "is", "p": "precision", "r": "recall"}


def metric_name(name: str) -> str:
    """The name in :data:`METRICS` of a metric or alias. Raises :class:`UserError` for any other,
    with the nearest."""
    plain = name.strip().lower()
    plain = ALIASES.get(plain, plain)
    if plain not in METRICS:
        raise unknown("metric", name.strip(), METRICS, ALIASES)
    return plain


def possible(images: Features | Reference, reference: Reference | None) -> list[str]:
    """The metrics that these features and this reference allow."""
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
        seed: keys the halves (:mod:`diffdescent.evaluate.halves`); no value depends on it.
        resamples: how many halves; 0: no intervals.
        progress: called with (metric, done, in all).

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
            f"{found.name} does not tell how many images it was made of; give the images"
            " themselves."
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
    """Whether ``reference`` has what ``metrics`` look at in it. Raises :class:`UserError` where it
    has not."""
    for name in metrics:
        against = METRICS[name].against
        if against is not None and not _has(reference, against):
            raise UserError(f"{METRICS[name].title} cannot be computed: {_lacks(name, reference)}.")


def _lacks(name: str, reference: Reference) -> str:
    return (
        f"it looks at {_WHAT[METRICS[name].against or '']}, which {reference.name} has not; give a"
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
    value, over = metric.compute(Task(images, reference, masks, report))
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
    notes: tuple[str, ...] = ()
    if metric.against is not None:
        protocol["reference"] = {"name": reference.name, "count": reference.count}
        notes = _notes(metric, images, reference, value, found)
    if masks is not None:
        protocol["interval"] = _how(masks, seed)
    if found is None:
        return Score(name, value, None, None, n, protocol, bias, notes)
    return Score(
        name, value, found.low, found.high, n, protocol, bias, notes, tuple(found.draws.tolist())
    )


def _lacking(name: str, images: Reference, reference: Reference | None) -> str | None:
    """Why a metric cannot be computed; None when it can."""
    metric = METRICS[name]
    if not _has(images, metric.needs):
        return (
            f"it looks at {_WHAT[metric.needs]}, which {images.name} have not; leave {name!r} out"
        )
    if metric.against is None:
        return None
    if reference is None:
        return "there is nothing to compare with; give a reference"
    if not _has(reference, metric.against):
        return _lacks(name, reference)
    if metric.against != "pool":
        return None
    least, fewest = (
        2 if name == "kid" else precision_recall.K + 1,
        min(len(images.pool), len(reference.pool)),
    )
    return (
        f"it needs at least {least} images on each side, not {fewest}" if fewest < least else None
    )


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
) -> tuple[str, ...]:
    notes = []
    if not reference.protocol:
        notes.append(
            f"{reference.name} does not say how it was made; that it fits these features is not"
            " checked"
        )
    if metric.biased:
        dimension = _dimension(metric, images)
        if _singular(metric, images):
            notes.append(
                f"{images.count} images for {dimension} features: their covariance is singular and"
                " the distance is too large, by how much they cannot tell; compare with equal"
                f" numbers of images only, or give more than {dimension}"
            )
        elif found is not None and found.bias > found.high - value:
            notes.append(
                f"with {images.count} images the distance is too large by more than its interval"
                f" reaches, here by about {found.bias:.3g}; compare with equal numbers of images"
                " only"
            )
        if reference.count is not None and reference.count <= dimension:
            notes.append(
                f"the reference has {reference.count} images for {dimension} features: its"
                " covariance is singular and the distance is too large"
            )
    return tuple(notes)


def score_exact(
    images: Tensor, exact: Tensor, *, seed: int = 0, resamples: int = 200, directions: int = 256
) -> list[Score]:
    """On exact models: :func:`rmse_score` and :func:`swd_score` of ``images`` (n, …) by the exact
    solutions ``exact`` (n, …) from the same noise
    (:func:`diffdescent.models.flowmap.exact_solution`).

    Both in pixel units. RMSE judges the path of each image, the sliced Wasserstein distance only
    where all of them end up. Raises :class:`UserError` for different shapes.
    """
    errors = wasserstein.squared_errors(images, exact)
    f, g = wasserstein.projections(images, exact, directions, seed)
    return [
        rmse_score(errors, seed=seed, resamples=resamples),
        swd_score(f, g, seed=seed, resamples=resamples),
    ]


def rmse_score(squared_errors: Tensor, *, seed: int = 0, resamples: int = 200) -> Score:
    """ "rmse", the root of the mean of ``squared_errors`` (n,), one of each image, to the exact
    solution."""
    errors = squared_errors.double()
    return _exact(
        "rmse", len(errors), lambda mask: float(errors[mask].mean().sqrt()), {}, seed, resamples
    )


def swd_score(f: Tensor, g: Tensor, *, seed: int = 0, resamples: int = 200) -> Score:
    """ "swd", the sliced Wasserstein distance (p = 2) by the projections (n, directions) of the
    images and (m, directions) of the exact solutions on the same directions."""
    options = {"directions": f.shape[1], "p": 2, "seed": seed}
    return _exact(
        "swd", len(f), lambda mask: wasserstein.distance_along(f[mask], g), options, seed, resamples
    )


def _exact(
    name: str,
    n: int,
    of: Callable[[Tensor], float],
    options: dict[str, JSON],
    seed: int,
    resamples: int,
) -> Score:
    check_resamples(resamples)
    value = of(torch.ones(n, dtype=torch.bool))
    protocol: dict[str, JSON] = {
        "metric": name,
        "against": "exact solutions from the same noise",
        **options,
    }
    if resamples < 1 or n < LEAST:
        return Score(name, value, None, None, n, protocol)
    masks = halves(n, resamples, seed)
    found = interval(
        value, torch.tensor([of(mask) for mask in masks], dtype=torch.float64), n, (0.0, math.inf)
    )
    protocol["interval"] = _how(masks, seed)
    return Score(name, value, found.low, found.high, n, protocol, draws=tuple(found.draws.tolist()))


def _how(masks: Tensor, seed: int) -> dict[str, JSON]:
    return {"method": "random halves", "resamples": len(masks), "seed": seed}
