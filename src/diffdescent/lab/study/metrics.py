"""Which metrics a study measures, what they need of the shards, and the scores of a cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core import recipe as recipes
from diffdescent.core.predict import Predictor
from diffdescent.evaluate import (
    METRICS,
    Features,
    Reference,
    Score,
    metric_name,
    rmse_score,
    score,
    swd_score,
)
from diffdescent.evaluate.exact_errors import EXACT
from diffdescent.evaluate.features import JSON
from diffdescent.evaluate.notes import Note
from diffdescent.evaluate.own_solution import (
    OWN,
    CoarseSolution,
    solution_fd,
    solution_feature,
    solution_rmse,
)
from diffdescent.models.exact import Exact

from .cells import Cell
from .config import StudyConfig
from .shards import Payload

DIRECTIONS = 256
"""Of the sliced Wasserstein distance."""
FROM_NOISE = {**EXACT, **OWN}
"""Metrics that compare images with others from the same noise, with their titles."""
_OF_CLASSES = {"probs", "labels"}
"""What metrics of class probabilities need, and of the classes that were asked for."""
DEFAULT = ("fd", "precision", "recall")


@dataclass(frozen=True)
class Needs:
    """What the shards of a study must hold in addition to the first images, and whether there must
    be a reference."""

    squares: bool = False
    slices: bool = False
    features: bool = False
    spatial: bool = False
    probs: bool = False
    reference: bool = False
    solution: bool = False
    solution_features: bool = False

    @property
    def exact(self) -> bool:
        """Whether exact solutions are needed."""
        return self.squares or self.slices


def metrics_of(config: StudyConfig, model: Predictor) -> tuple[str, ...]:
    """The study's metrics: asked for, else rmse on an exact model without a reference, else fd,
    precision, recall.

    Raises :class:`UserError` for an unknown one.
    """
    if config.metrics:
        return tuple(dict.fromkeys(metric_name(metric, FROM_NOISE) for metric in config.metrics))
    return ("rmse",) if isinstance(model, Exact) and config.reference is None else DEFAULT


def lower_is_better(metric: str) -> bool:
    """The direction of a metric. Raises ``KeyError`` for one that is not ours."""
    if metric in FROM_NOISE:
        return True
    return not METRICS[metric].higher


def title(metric: str) -> str:
    """A metric as a reader knows it."""
    if metric in FROM_NOISE:
        return FROM_NOISE[metric]
    return METRICS[metric].title


def needs_of(config: StudyConfig, model: Predictor) -> Needs:
    """What the study's metrics need.

    Raises :class:`UserError` for an unknown metric, one that needs a reference where there is none,
    and rmse on a model without an exact solution or with anything that the exact solution does not
    follow.
    """
    wanted = metrics_of(config, model)
    others = [metric for metric in wanted if metric not in FROM_NOISE]
    own = [metric for metric in wanted if metric in OWN]
    seen = own != ["solution_rmse"] if own else False
    needed = {METRICS[metric].needs for metric in others}
    against = [metric for metric in others if METRICS[metric].against is not None]
    if against and config.reference is None:
        raise UserError(
            f"{', '.join(against)}: to compare with real images, give a folder, zip or npz of them"
            " as --reference (reference: in a study file); without one, solution_rmse,"
            " solution_feature and solution_fd compare with the model's own solution."
        )
    if "labels" in needed and not any(
        (block.labels or "none") != "none" for block in config.products
    ):
        raise UserError(
            "agreement is with the class that was asked for, and no class is; give --labels cycle."
        )
    if any(metric in EXACT for metric in wanted):
        _check_exact(config, model)
    return Needs(
        "rmse" in wanted,
        "swd" in wanted,
        bool(others) or seen,
        "spatial" in needed,
        bool(needed & _OF_CLASSES),
        bool(against),
        bool(own),
        seen,
    )


def _check_exact(config: StudyConfig, model: Predictor) -> None:
    if not isinstance(model, Exact):
        raise UserError(
            "rmse and swd are distances to the exact solution, and this model has none; leave them"
            " out, or use cifar10-mixture."
        )
    for block in config.products:
        if (block.labels or "none") != "none" or set(block.guidance or ("none",)) != {"none"}:
            raise UserError(
                "rmse and swd are measured without labels and guidance; leave these out, or leave"
                " rmse and swd out."
            )


def scores(
    config: StudyConfig,
    cell: Cell,
    wanted: Sequence[str],
    payloads: Sequence[Payload],
    reference: Reference | None,
    protocol: Mapping[str, JSON],
) -> list[Score]:
    """The :class:`~diffdescent.evaluate.Score` of each metric, from the shards of ``cell`` in
    order, whose features have ``protocol``."""
    found = [
        _exact_score(metric, cell, payloads, config.resamples)
        for metric in wanted
        if metric in EXACT
    ]
    found += [
        _own_score(metric, cell, config, payloads, protocol) for metric in wanted if metric in OWN
    ]
    others = [metric for metric in wanted if metric not in FROM_NOISE]
    if others:
        names = [field.name for field in fields(Features) if field.name in payloads[0]]
        kept: dict[str, Any] = {name: _joined(payloads, name) for name in names}
        # A cell without labels (an unguided one among guided ones) has no score of them.
        others = [
            metric for metric in others if METRICS[metric].needs != "labels" or "labels" in kept
        ]
        features = Features(**kept, protocol=protocol)
        found += score(features, reference, others, seed=0, resamples=config.resamples)
    return sorted(found, key=lambda one: list(wanted).index(one.metric))


def _joined(payloads: Sequence[Payload], name: str) -> Tensor:
    return torch.from_numpy(np.concatenate([payload[name] for payload in payloads]))


def _exact_score(metric: str, cell: Cell, payloads: Sequence[Payload], resamples: int) -> Score:
    if metric == "swd":
        return swd_score(
            _joined(payloads, "slices"), _joined(payloads, "exact_slices"), resamples=resamples
        )
    found = rmse_score(_joined(payloads, "squared_errors"), resamples=resamples)
    return replace(found, notes=(*found.notes, *_noisy(cell, "swd")))


def _own_score(
    metric: str,
    cell: Cell,
    config: StudyConfig,
    payloads: Sequence[Payload],
    protocol: Mapping[str, JSON],
) -> Score:
    if metric == "solution_rmse":
        found = solution_rmse(_joined(payloads, "own_squares"), resamples=config.resamples)
        error = float(payloads[0]["own_error"])
        coarse = CoarseSolution(error, found.value, config.solution)
        notes = (coarse,) if error > found.value / 4 else ()
        return replace(found, notes=(*found.notes, *notes, *_noisy(cell, "solution_fd")))
    of = solution_feature if metric == "solution_feature" else solution_fd
    ours, own = _joined(payloads, "pool"), _joined(payloads, "own_pool")
    return of(ours, own, dict(protocol), resamples=config.resamples)


def _noisy(cell: Cell, judge: str) -> tuple[Note, ...]:
    stochastic = recipes.parse(cell.sampler).solver.stochastic
    return (NoisySampler(cell.sampler, judge),) if stochastic else ()


@dataclass(frozen=True)
class NoisySampler(Note, kind="noisy sampler"):
    """A distance to the solution from the same start, of a sampler that draws noise on the way;
    ``judge`` is the metric that compares the sets."""

    sampler: str
    judge: str = "swd"

    def __str__(self) -> str:
        return (
            f"{self.sampler} draws noise on the way, so that however good its images are, they are"
            " not the solutions from the same start: their distance says little of it,"
            f" {self.judge} judges the set"
        )
