"""What a metric is, and the list of those that are known by name."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from diffdescent.base.errors import UserError, unknown

from .features import JSON
from .reference import Reference


class Task(NamedTuple):
    """What a metric is computed from: the statistics of the images and of the reference.

    ``masks`` are the halves of its interval, bool (resamples, n), None where there are none;
    ``report`` is called with (done, in all).
    """

    images: Reference
    reference: Reference
    masks: Tensor | None
    report: Callable[[int, int], None]


Values = tuple[float, Tensor | None]
"""A metric on all images, and on each half (resamples,)."""


@dataclass(frozen=True)
class Metric:
    """A metric by ``name``: its ``title``, whether ``higher`` is better, and how it is computed.

    ``needs`` and ``against`` are what it looks at in the images and in the reference: their
    "moments", "spatial" moments, "pool" (single features), "probs" or "labels" (with probs);
    ``least`` is how many images it needs on each side. ``biased``: its expectation depends on the
    number of images, like 1/n. No value lies beyond ``bounds``, ``options`` are its part of the
    protocol, and ``aliases`` other names of it.
    """

    name: str
    title: str
    higher: bool
    needs: str
    against: str | None
    compute: Callable[[Task], Values] = field(repr=False)
    bounds: tuple[float, float] = (0.0, math.inf)
    biased: bool = False
    least: int = 2
    options: Mapping[str, JSON] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {}
"""Every metric that looks at features, by name."""
ALIASES: dict[str, str] = {}
"""Other names of metrics."""


def register(metric: Metric) -> Metric:
    """Make a metric known by its name and aliases: to :func:`~diffdescent.evaluate.score`, and to
    the commands and study files.

    Raises :class:`UserError` for a name that another metric has.
    """
    for name in (metric.name, *metric.aliases):
        known = METRICS.get(ALIASES.get(name, name))
        same = known is None or _source(known) == _source(metric)  # a module may be loaded again
        if name != name.strip().lower() or not same:
            raise UserError(
                f"A metric cannot be called {name!r}: names are in lower case, and of one metric"
                " alone; choose another."
            )
    METRICS[metric.name] = metric
    ALIASES.update(dict.fromkeys(metric.aliases, metric.name))
    return metric


def _source(metric: Metric) -> tuple[str, str]:
    return metric.compute.__module__, metric.name


def metric_name(name: str, others: Collection[str] = ()) -> str:
    """The name in :data:`METRICS`, or among ``others``, of a metric or alias.

    ``module:name`` imports the module first, which registers the metric. Raises :class:`UserError`
    for any other name, with the nearest, and for a module that cannot be imported.
    """
    module, _, plain = name.strip().rpartition(":")
    if module:
        _import(module)
    plain = ALIASES.get(plain.lower(), plain.lower())
    if plain not in METRICS and plain not in others:
        raise unknown("metric", name.strip(), (*METRICS, *others), ALIASES)
    return plain


def full_name(name: str) -> str:
    """A metric's name as a command takes it: with its module, where that is not one of ours."""
    module = METRICS[name].compute.__module__ if name in METRICS else ""
    ours = not module or module == "__main__" or module.startswith("diffdescent.")
    return name if ours else f"{module}:{name}"


def _import(module: str) -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            f"The module {module!r} of a metric cannot be imported ({error}); install it, or put"
            " its folder on PYTHONPATH."
        ) from None
