"""What a metric is, and the list of those that are known by name."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.base.extensions import import_module

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


KINDS = ("moments", "spatial", "pool", "probs", "labels")
"""What a metric can look at."""
_ROUNDING = 1e-9
"""How far beyond its bounds a value may lie by rounding, in units of the bound or of 1."""


@dataclass(frozen=True)
class Metric:
    """A metric by ``name``: its ``title``, whether ``higher`` is better, and how it is computed.

    ``needs`` and ``against`` are what it looks at in the images and in the reference: their
    "moments", "spatial" moments, "pool" (single features), "probs" or "labels" (with probs);
    ``least`` is how many images it needs on each side. ``biased``: its expectation depends on the
    number of images, like 1/n. No value lies beyond ``bounds``, ``options`` are its part of the
    protocol, and ``aliases`` other names of it.

    Raises:
        UserError: another word in ``needs`` or ``against``, and ``bounds`` that are not two numbers
            in order.
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

    def __post_init__(self) -> None:
        if self.needs not in KINDS:
            raise unknown(f"word for needs= of the metric {self.name!r}:", self.needs, KINDS)
        if self.against is not None and self.against not in KINDS:
            raise unknown(f"word for against= of the metric {self.name!r}:", self.against, KINDS)
        if len(self.bounds) != 2 or not self.bounds[0] <= self.bounds[1]:
            raise UserError(
                f"The bounds= of the metric {self.name!r} are the lowest and the highest value"
                f" that it can have, such as (0, 1), not {self.bounds}."
            )


METRICS: dict[str, Metric] = {}
"""Every metric that looks at features, by name."""
ALIASES: dict[str, str] = {}
"""Other names of metrics."""


def register(metric: Metric) -> Metric:
    """Make a metric known by its name and aliases: to :func:`~diffdescent.evaluate.score`, and to
    the commands and study files.

    Args:
        metric: what it is called, and how it is computed.

    Returns:
        The metric.

    Raises:
        UserError: a name that is not in lower case or that another metric has.
    """
    for name in (metric.name, *metric.aliases):
        if name != name.strip().lower():
            raise UserError(
                f"A metric cannot be called {name!r}: names are in lower case, without spaces"
                f" around them; write {name.strip().lower()!r}."
            )
        known = METRICS.get(ALIASES.get(name, name))
        # A module may be loaded again.
        if known is not None and _source(known) != _source(metric):
            raise UserError(
                f"A metric cannot be called {name!r}: that is the {known.title!r} of"
                f" {known.compute.__module__}; choose another name."
            )
    METRICS[metric.name] = metric
    ALIASES.update(dict.fromkeys(metric.aliases, metric.name))
    return metric


def _source(metric: Metric) -> tuple[str, str]:
    return metric.compute.__module__, metric.name


def compute(metric: Metric, task: Task) -> Values:
    """What ``metric`` gives for a task.

    Raises:
        UserError: unless that is a number within its bounds, and one value for each half that was
            asked for, or None.
    """
    found: object = metric.compute(task)
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], numbers.Real)):
        raise UserError(
            f"The metric {metric.name!r} must give a number and its values on the halves (or None),"
            f" not {_described(found)}; return (float(value), over_halves)."
        )
    value, over = float(found[0]), found[1]
    asked = 0 if task.masks is None else len(task.masks)
    if over is not None and not (asked and isinstance(over, Tensor) and over.shape == (asked,)):
        expected = f"a tensor of shape ({asked},)" if asked else "None, as no halves were asked for"
        raise UserError(
            f"The metric {metric.name!r} must give {expected} as its values on the halves, not"
            f" {_described(over)}; compute one number for each row of task.masks."
        )
    low, high = metric.bounds
    if value < low - _ROUNDING * max(1, abs(low)) or value > high + _ROUNDING * max(1, abs(high)):
        raise UserError(
            f"The metric {metric.name!r} is {value:.4g} here, beyond its bounds ({low:g},"
            f" {high:g}); say bounds=(lowest, highest) where it is declared."
        )
    return value, over


def _described(found: object) -> str:
    if isinstance(found, Tensor):
        return f"a tensor of shape {tuple(found.shape)}"
    if isinstance(found, tuple):
        return f"a tuple of {', '.join(map(_described, found)) or 'nothing'}"
    return "None" if found is None else f"a {type(found).__name__}"


def metric_name(name: str, others: Collection[str] = ()) -> str:
    """The name in :data:`METRICS`, or among ``others``, of a metric or alias.

    ``module:name`` imports the module first, which registers the metric.

    Args:
        name: of a metric, an alias, or ``module:name``.
        others: further names that are accepted.

    Returns:
        The metric's own name.

    Raises:
        UserError: any other name, with the nearest, and a module that cannot be imported.
    """
    module, _, plain = name.strip().rpartition(":")
    if module:
        import_module(module)
    plain = ALIASES.get(plain.lower(), plain.lower())
    if plain not in METRICS and plain not in others:
        raise unknown("metric", name.strip(), (*METRICS, *others), ALIASES)
    return plain


def full_name(name: str) -> str:
    """A metric's name as a command takes it: with its module, where that is not one of ours."""
    module = METRICS[name].compute.__module__ if name in METRICS else ""
    ours = not module or module == "__main__" or module.startswith("diffdescent.")
    return name if ours else f"{module}:{name}"
