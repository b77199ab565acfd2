"""A prepared run: everything that is decided before the first evaluation, in one frozen value.

Python, the command line, studies and front ends prepare a :class:`Run` and ask it for batches; what
it will do is its record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from diffdescent.base.errors import unknown
from diffdescent.core.grid import Grid
from diffdescent.core.model_info import info
from diffdescent.core.noise import Brownian, Keyed, NoiseSource
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import Recipe

from .budget import evaluations
from .inputs import Inputs
from .problem import Problem
from .record import GridRecord, ImagesRecord, ProcessRecord, RunRecord, versions

Blend = Literal["before", "after"]
Turn = Literal["place", "sample"]
Places = tuple[int, ...]
NOISES: dict[str, type[Keyed] | type[Brownian]] = {"independent": Keyed, "brownian": Brownian}


def noise_source(kind: str, seed: int, samples: Sequence[int], device: torch.device) -> NoiseSource:
    """The noise of a batch.

    Raises:
        UserError: an unknown kind.
    """
    if kind not in NOISES:
        raise unknown("noise", kind, NOISES)
    return NOISES[kind](seed, torch.tensor(samples, dtype=torch.int64, device=device))


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that is ready: model, plan, inputs, and everything that its images follow from.

    Sample number ``samples[p]`` stands at place p; batches are tuples of places. ``recipe`` has
    what the guidance adds to it; ``asked`` and ``guidance`` are the texts that the record keeps.
    ``noised`` says whether the run starts from the noised ``init``, not from noise alone, and
    ``reason`` why this sampler runs where none was named.
    """

    model: Predictor
    name: str
    recipe: Recipe
    asked: str
    guidance: str | None
    plan: Plan
    shape: tuple[int, ...]
    samples: tuple[int, ...]
    seed: int
    noise: str
    inputs: Inputs
    label: str | None
    strength: float
    noised: bool
    reason: str | None
    by: Turn
    blend: Blend
    batch_size: int
    micro_batch: int
    device: torch.device
    dtype: torch.dtype
    problem: Problem | None = None

    @property
    def grid(self) -> Grid:
        """The noise levels that are walked."""
        return self.plan.grid

    @property
    def network_calls(self) -> int:
        """Evaluations of networks for one image."""
        return evaluations(self.model, self.plan)

    def batches(self, places: Sequence[int] | None = None) -> list[Places]:
        """The places (all, or those asked for) in batches of at most ``batch_size``.

        Where the recipe looks at whole batches, they are those of the whole run that hold a place
        asked for: a part of one would be other images.
        """
        whole = range(len(self.samples))
        if places is None or not self.recipe.whole_batch:
            return _cut(whole if places is None else places, self.batch_size)
        return [b for b in _cut(whole, self.batch_size) if not set(places).isdisjoint(b)]

    def answering(self, places: Sequence[int]) -> tuple[Predictor, Recipe]:
        """The model and the recipe for the samples at these places: its own, unless their images
        were measured."""
        if self.problem is None:
            return self.model, self.recipe
        return self.problem.answering(self.model, self.recipe, places)

    def record(self, command: Sequence[str] | None = None) -> RunRecord:
        """What is needed to repeat the run."""
        given, together = self.inputs, self.recipe.whole_batch
        return RunRecord(
            model=self.name,
            fingerprint=info(self.model).fingerprint,
            guidance=self.guidance,
            recipe=self.asked,
            reason=self.reason,
            files=self.recipe.contents,
            process=ProcessRecord.of(self.grid.process),
            grid=GridRecord.of(self.grid),
            nfe=self.plan.nfe,
            network_calls=self.network_calls,
            seed=self.seed,
            samples=self.samples,
            shape=self.shape,
            label=self.label,
            labels=None if given.labels is None else _briefly(given.labels.tolist()),
            start=ImagesRecord.of(given.start, "place"),
            init=ImagesRecord.of(given.init, self.by),
            strength=None if given.init is None else self.strength,
            mask=ImagesRecord.of(given.mask, "place"),
            blend=None if given.mask is None else self.blend,
            noise=self.noise,
            restoration=None if self.problem is None else self.problem.record(),
            batches=self._sample_batches() if together else None,
            micro_batch=self.micro_batch,
            dtype=str(self.dtype).removeprefix("torch."),
            device=self.device.type,
            threads=torch.get_num_threads() if self.device.type == "cpu" else None,
            versions=versions(),
            command=None if command is None else tuple(command),
        )

    def _sample_batches(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(self.samples[p] for p in batch) for batch in self.batches())


def _cut(places: Sequence[int], size: int) -> list[Places]:
    return [tuple(places[begin : begin + size]) for begin in range(0, len(places), size)]


def _briefly(labels: list[Any]) -> int | tuple[int, ...]:
    """One label for all, where it is the same for all."""
    return labels[0] if len(set(labels)) == 1 else tuple(labels)
