"""The measurement: a guided sampler run in chunks, continued where it was stopped."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.base.files import pack_arrays
from diffdescent.core.grammar import print_element
from diffdescent.core.grid import Grid
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.core.transforms.pxp import FreePxP, PxP
from diffdescent.guidance.wrapper import Wrapper
from diffdescent.run.inputs import labels_of_text
from diffdescent.run.record import without_grid_name
from diffdescent.run.store import Kind, Store

from .rows import Array
from .table import ConflictTable

if TYPE_CHECKING:
    from diffdescent.core.recipe import Recipe
    from diffdescent.run import Callback

from .recorder import FreeRecorder, Recorder, rule_of, with_recorder

CHUNK = 16
"""Samples that are measured and written together."""
CONFLICTS = Kind(
    what="conflict analysis",
    record="analysis.json",
    entries=re.compile(r"chunk-\d{6,}\.npz"),
    others=re.compile(r"conflicts\.(csv|png)"),
    view=lambda settings, _: without_grid_name(settings),
    remedy="choose another folder, overwrite, or give the same settings to continue it.",
)


@dataclass(frozen=True)
class Analysis:
    """A conflict analysis that can be continued, in chunks of 16 samples.

    The sampler is left as it is. ``rule`` is the recipe's own ``pxp`` or ``pxp_free``; without
    either, "after" is what it would make of each step.
    """

    model: Predictor
    recipe: Recipe
    grid: Grid
    n: int
    labels: Tensor | None
    seed: int
    micro_batch: int
    device: torch.device
    rule: PxP | FreePxP
    folder: Path | None = None
    overwrite: bool = False
    held: dict[int, Array] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """What makes the figures, JSON-safe; the number of samples is free, so that more can be
        added."""
        from diffdescent.core.model_info import info

        return {
            "model": info(self.model).name,
            "fingerprint": info(self.model).fingerprint,
            "guidance": json.loads(json.dumps(described(self.model))),
            "recipe": str(self.recipe),
            "rule": print_element(self.rule),
            "rows": "evaluations" if isinstance(self.rule, FreePxP) else "steps",
            "grid": {"name": self.grid.name, "t": self.grid.t.tolist()},
            "labels": self._labels(),
            "seed": self.seed,
            "micro_batch": self.micro_batch,
            "device": self.device.type,
        }

    @cached_property
    def store(self) -> Store | None:
        """Where it is kept; None without a folder."""
        if self.folder is None:
            return None
        return Store(self.folder, CONFLICTS, self.settings(), self.overwrite)

    def chunks(self) -> list[range]:
        """The samples of each chunk."""
        return [range(first, min(first + CHUNK, self.n)) for first in range(0, self.n, CHUNK)]

    def known(self, chunk: range) -> Array | None:
        """The Gram matrices of a chunk, (steps, samples, 6, 6), if it was measured before."""
        if chunk.start not in self.held and self.store is not None:
            kept = self.store.arrays(_name(chunk)) or {}
            if "gram" in kept:
                self.held[chunk.start] = kept["gram"]
        found = self.held.get(chunk.start)
        if found is None or found.shape[1] < len(chunk):
            return None
        # What looks at whole batches is not the same in a longer one.
        tied = self.recipe.whole_batch or self.rule.whole_batch
        return None if tied and found.shape[1] != len(chunk) else found[:, : len(chunk)]

    def measure(self, chunk: range, callback: Callback | None = None) -> None:
        """Run and write one chunk."""
        from diffdescent.run import sample

        recorder = (
            FreeRecorder(self.rule)
            if isinstance(self.rule, FreePxP)
            else Recorder(self.rule, rule_of(self.recipe) is not None)
        )
        sample(
            self.model,
            with_recorder(self.recipe, recorder),
            grid=self.grid,
            samples=chunk,
            labels=None if self.labels is None else self.labels[chunk.start : chunk.stop],
            seed=self.seed,
            batch_size=CHUNK,
            micro_batch=self.micro_batch,
            device=self.device,
            callback=callback,
            progress=False,
        )
        found: Array = torch.stack(recorder.grams).cpu().double().numpy()
        self.held[chunk.start] = found
        if self.store is not None:
            # Only now: a mistake that shows when the model runs leaves the folder as it was.
            self.store.claim()
            self.store.write(_name(chunk), pack_arrays({"gram": found}, compressed=True))

    def table(self) -> ConflictTable:
        """The figures, once every chunk has been measured."""
        found = np.concatenate(
            [g for chunk in self.chunks() if (g := self.known(chunk)) is not None], axis=1
        )
        plan = self.recipe.plan(self.grid)
        if isinstance(self.rule, FreePxP):
            starts = [row.at for row in plan.rows]
        else:
            ends = [out.point for row in plan.rows for out in row.outputs if out.commit]
            starts = [self.grid.points[0], *ends[:-1]]
        t, ratio = (np.array([getattr(p, name) for p in starts]) for name in ("t", "ratio"))
        return ConflictTable({**self.settings(), "n": self.n}, t, ratio, found)

    def _labels(self) -> list[int] | str | None:
        """The labels by their period, so that more samples go on as these do."""
        if self.labels is None:
            return None
        labels = self.labels.tolist()
        if labels == cycled(self.model, len(labels)):
            return "all in turn"
        period = next(
            p for p in range(1, len(labels) + 1) if labels[p:] == labels[: len(labels) - p]
        )
        return labels[:period]


def _name(chunk: range) -> str:
    """The entry of a chunk."""
    return f"chunk-{chunk.start:06d}.npz"


def described(thing: Any) -> Any:
    """The options of a guided model and of its guides, by name, JSON-safe; networks have
    fingerprints instead."""
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, tuple):
        return [described(value) for value in thing]
    if isinstance(thing, Tensor):
        return hashlib.sha256(thing.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]
    if isinstance(thing, Wrapper) or (is_dataclass(thing) and not isinstance(thing, Predictor)):
        own = {one.name: described(getattr(thing, one.name)) for one in fields(thing) if one.init}
        return {"kind": type(thing).__name__, **own}
    return info(thing).name if isinstance(thing, Predictor) else type(thing).__name__


def cycled(model: Predictor, n: int) -> list[int] | None:
    """All classes in turn, n labels; None for a model without. The label by which a network is
    asked for none is not among them: there is no guidance under it."""
    if not info(model).conditional:
        return None
    return list(itertools.islice(itertools.cycle(labels_of_text("cycle", model)), n))


def analysis(
    model: Predictor | str,
    recipe: Recipe | str = "ddpm",
    *,
    n: int = 64,
    steps: int = 50,
    grid: Grid | str | None = None,
    labels: Tensor | int | Sequence[int] | None = None,
    seed: int = 0,
    micro_batch: int | None = None,
    device: torch.device | str | None = None,
    rule: PxP | None = None,
    out: Path | str | None = None,
    overwrite: bool = False,
) -> Analysis:
    """An :class:`Analysis` that is ready to run; errors are those of :func:`conflicts`.

    Args:
        model: a guided model.
        recipe: the sampler.
        n: how many samples.
        steps: of the grid.
        grid: a grid or its text; None takes the recipe's usual one.
        labels: a class for each sample, or one for all; None takes all in turn.
        seed: of the noise.
        micro_batch: how many samples the network sees at once.
        device: where to run.
        rule: the :class:`PxP` by which "after" is computed where the recipe has none.
        out: a folder for what has been measured; None keeps nothing.
        overwrite: whether a folder with another analysis is begun anew.

    Returns:
        The analysis; :func:`conflicts` runs it.
    """
    from diffdescent.models.adapt import as_model
    from diffdescent.run import make_recipe, micro_batch_width, resolve_grid

    if n < 1:
        raise UserError(f"A conflict analysis needs at least one sample, not {n}.")
    net, chosen = as_model(model, device), make_recipe(recipe, steps)
    own = rule_of(chosen)
    if own is not None and rule is not None and own != rule:
        raise UserError(
            "The recipe has a pxp of its own, which is the one that is measured; leave out one of"
            " the two."
        )
    asked = cycled(net, n) if labels is None else labels
    known = None if asked is None else torch.as_tensor(asked)
    if known is not None and known.ndim and len(known) != n:
        raise UserError(
            f"{len(known)} labels were given for {n} samples; give one, or one for each sample."
        )
    where = pick_device(device if device is not None else info(net).device)
    ready = Analysis(
        net,
        chosen,
        resolve_grid(grid, chosen, net.process, steps),
        n,
        None if known is None else known.expand(n),
        seed,
        micro_batch_width(net, where, micro_batch),
        where,
        own or rule or PxP(),
        None if out is None else Path(out),
        overwrite,
    )
    if ready.store is not None:
        ready.store.check()
    return ready


def conflicts(
    model: Predictor | str,
    recipe: Recipe | str = "ddpm",
    *,
    callback: Callback | None = None,
    **options: Any,
) -> ConflictTable:
    """How the gradients of a guided sampler conflict, step by step: the measurement behind
    PixelAsParam's figure 2.

    Args:
        model: a guided model: :class:`~diffdescent.guidance.Guided`,
            :class:`~diffdescent.guidance.ClassifierFree`, or both (see
            :func:`~diffdescent.guidance.apply_guidance`).
        recipe: the sampler; with ``pxp`` in its chain PxP's steps are taken, otherwise its rule is
            only measured. With ``pxp_free`` alone its pair is measured at every evaluation, in
            units of x0.
        callback: called after each evaluation, as in :func:`diffdescent.run`.
        **options: those of :func:`analysis`: n (64), steps (50), grid, seed, labels, micro_batch,
            device; ``rule``, the :class:`PxP` by which "after" is computed where the recipe has
            none (the paper's); ``out``, a folder for what has been measured, written every 16
            samples, where the same call continues and ``overwrite`` begins anew.

    Returns:
        A :class:`ConflictTable`: angles and shares of the parts, step by step.

    Raises:
        UserError: a model without guidance, a folder that holds another analysis, and what
            :func:`diffdescent.run` refuses.
    """
    ready = analysis(model, recipe, **options)
    for chunk in ready.chunks():
        if ready.known(chunk) is None:
            ready.measure(chunk, callback)
    return ready.table()
