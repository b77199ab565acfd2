"""The model's own solution: what its fine trajectories make of the noise that the samplers start
from.

All samplers of a study are held against one solution, whatever level they themselves begin at: it
starts at the highest level that the model knows. Where a sampler starts lower, what that costs is
in its distance.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import parse
from diffdescent.evaluate.wasserstein import squared_errors
from diffdescent.guidance.wrapper import terms_of
from diffdescent.run.calibrate.subject import Subject
from diffdescent.run.calibrate.teacher import Trajectories, teacher_error, trajectories
from diffdescent.run.pieces import Pieces, model_identity

from .cells import NONE, Cell, labels_for
from .shards import Payload, Task

if TYPE_CHECKING:
    from .worker import Worker

CHECKED = 4
"""Samples that are solved again on twice the levels."""
KEPT = 16
"""Solutions of this many shards stay in memory."""


@dataclass(frozen=True)
class Own:
    """Solutions of a range of samples, (n, C, H, W), and their ``pool`` features where these are
    compared."""

    images: Tensor
    pool: Tensor | None


class OwnSolutions:
    """The solutions of a study's worker, each made once; on disk too, where it has a cache."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self._known: dict[tuple[str, str, int, int, int], Own] = {}
        self._errors: dict[tuple[str, str, int], float] = {}

    def check(self, cell: Cell) -> None:
        """Raise :class:`UserError` where the model has no solution of its own in this cell."""
        guided(self.worker, cell.guidance)

    def compared(self, task: Task, images: Tensor, cache: Path | None) -> Payload:
        """What the distances of a shard's ``images`` to the solutions need."""
        own = self._own(task, cache)
        found: Payload = {
            "own_squares": squared_errors(images, own.images).numpy(),
            "own_error": np.array(self._error(task.cell, cache)),
        }
        if own.pool is not None:
            found["own_pool"] = own.pool.numpy()
        return found

    def _own(self, task: Task, cache: Path | None) -> Own:
        cell = task.cell
        key = (cell.guidance, cell.labels, cell.seed, task.first, task.last)
        if key not in self._known:
            images = self._solved(cell, task.samples, cache).end
            pool = None
            if self.worker.needs.solution_features:
                pool = self.worker.extractor(self.worker.pixels(images)).pool.cpu()
            if len(self._known) >= KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[key] = Own(images, pool)
        return self._known[key]

    def _error(self, cell: Cell, cache: Path | None) -> float:
        """How far the first solutions of a seed are from those on twice the levels."""
        key = (cell.guidance, cell.labels, cell.seed)
        if key not in self._errors:
            subject, levels = self._subject(cell), self.worker.config.solution
            some = range(CHECKED)
            held = self._solved(cell, some, cache)

            def make() -> Payload:
                with torch.no_grad():
                    error = teacher_error(subject, held, some, seed=cell.seed, levels=levels)
                return {"error": np.array(error)}

            asked = {"seed": cell.seed, "levels": levels, "count": CHECKED}
            found = self._pieces(cell, subject, cache).get("own-error", asked, make)
            self._errors[key] = float(found["error"])
        return self._errors[key]

    @torch.no_grad()
    def _solved(self, cell: Cell, samples: range, cache: Path | None) -> Trajectories:
        subject = self._subject(cell)
        return trajectories(
            subject,
            samples,
            seed=cell.seed,
            levels=self.worker.config.solution,
            keep=False,
            pieces=self._pieces(cell, subject, cache),
        )

    def _pieces(self, cell: Cell, subject: Subject, cache: Path | None) -> Pieces:
        identity = model_identity(subject.model)
        config = self.worker.config
        base = {"own": identity, "labels": cell.labels, "dtype": config.dtype}
        if cell.guidance != NONE:  # a fingerprint is the same at any scale of the guidance
            base["guidance"] = cell.guidance
        return Pieces(cache, {**base, "device": self.worker.device.type})

    def _subject(self, cell: Cell) -> Subject:
        worker = self.worker
        model = guided(worker, cell.guidance)

        def label(samples: range) -> Tensor | None:
            found = labels_for(cell.labels, model, samples)
            return None if found is None else found.to(worker.device)

        return Subject(model, worker.shape, worker.device, worker.width, label)


def guided(worker: Worker, guidance: str) -> Predictor:
    """The model under ``guidance``. Raises :class:`UserError` for one that acts on a sampler's
    steps too: there is no solution that all samplers tend to."""
    model, recipe = worker.guided(guidance, parse("ddim"))
    terms = terms_of(model)
    if recipe.transforms or any(t is not None for t in (terms.x0, terms.mean, terms.state)):
        raise UserError(
            f"The guidance {guidance!r} acts on a sampler's steps, so the model has no solution of"
            " its own under it; compare with real images (--reference), or leave that part out."
        )
    return model
