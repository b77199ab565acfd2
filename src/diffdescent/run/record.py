"""The record of a run: one schema for ``Result.record`` and for ``run.json``, written and read
back."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.files import write_atomically
from diffdescent.base.hashes import json_hash
from diffdescent.base.version import __version__
from diffdescent.base.words import counted
from diffdescent.core.grid import Grid
from diffdescent.core.process import Process

from .inputs import Images, digest
from .json_files import json_text, read_object
from .sample_numbers import numbers, ranges
from .schema import decode, encode

SCHEMA = 2
"""The version of :class:`RunRecord`; it rises whenever an entry changes its meaning."""
RECORD = "run.json"
"""The name of a record in the folder of its run."""
DECIMALS = 12
"""Of times, α and σ, where processes are compared."""
FREE = frozenset({"reason", "samples", "labels", "command", "seconds", "network_calls"})
"""Entries in which a continued run may differ from what is on disk."""


@dataclass(frozen=True)
class ProcessRecord:
    """A diffusion process: its type's name and a hash of its α and σ, rounded: another processor's
    exponential differs in the last bit."""

    kind: str
    sha256: str

    @classmethod
    def of(cls, process: Process) -> ProcessRecord:
        """What identifies ``process``: α and σ at nine times from its first to its last."""
        times = np.linspace(process.t_min, process.t_max, 9)
        levels = np.stack([times, *process.alpha_sigma(times)]).round(DECIMALS) + 0.0  # no −0
        return cls(type(process).__name__, json_hash([f"{x:.9e}" for x in levels.flat], 16))


@dataclass(frozen=True)
class GridRecord:
    """The noise levels of a run, as it walked them."""

    name: str
    t: tuple[float, ...]
    alpha: tuple[float, ...]
    sigma: tuple[float, ...]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, grid: Grid) -> GridRecord:
        """The levels of ``grid``."""
        t, alpha, sigma = (tuple(column.tolist()) for column in (grid.t, grid.alpha, grid.sigma))
        return cls(grid.name, t, alpha, sigma, tuple(grid.notes))

    def grid(self, process: Process) -> Grid:
        """The grid of these levels.

        Raises:
            UserError: where they make none.
        """
        t, alpha, sigma = (np.array(column) for column in (self.t, self.alpha, self.sigma))
        return Grid(process, t, alpha, sigma, self.name, self.notes)


def without_grid_name(entries: dict[str, Any]) -> dict[str, Any]:
    """The entries of a record whose grid is its levels, whatever it is called."""
    grid = entries.get("grid")
    if not isinstance(grid, dict):
        return entries
    return {**entries, "grid": {key: value for key, value in grid.items() if key != "name"}}


@dataclass(frozen=True)
class ImagesRecord:
    """Images that steered a run: a hash of them, the file that they came from, and whether sample
    number i took image i in turn or each place of the run its own."""

    sha256: str
    path: str | None = None
    by: Literal["place", "sample"] = "place"

    @classmethod
    def of(cls, images: Images | None, by: Literal["place", "sample"]) -> ImagesRecord | None:
        """That of ``images``; None for none."""
        return None if images is None else cls(digest(images.values), images.path, by)


@dataclass(frozen=True)
class PromptFile:
    """The prompts of a text to image run: the file, how many it holds and a hash of them."""

    path: str
    count: int
    sha256: str


@dataclass(frozen=True)
class TextToImageRecord:
    """What a diffusers pipeline was asked: its class, its scheduler's config, the prompts and the
    pipeline's own options."""

    pipeline: str
    steps: int
    scheduler: dict[str, Any]
    options: dict[str, Any]
    prompt: str | None = None
    prompts: PromptFile | None = None


@dataclass(frozen=True)
class RestorationRecord:
    """What was measured of the images of a run, and by which method they are restored."""

    method: str
    operator: str
    noise: float
    measured: ImagesRecord


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Everything that is needed to repeat a run (:func:`diffdescent.repeat`).

    ``model`` is what :func:`diffdescent.load_model` was given, or the name of a model that was made
    in Python; ``guidance`` and ``recipe`` are texts, the recipe without what the guidance adds to
    it. ``grid`` are the levels that were walked, ``strength`` the share of the noise that ``init``
    was given. ``labels`` has one for all samples or one for each, ``label`` the text that they were
    asked for by. ``batches`` are the samples made together, where the recipe looks at whole
    batches; ``threads`` of the CPU change the last bits, and so do ``micro_batch``, ``dtype``,
    ``device`` and the ``versions`` of the libraries. ``files`` are those that the recipe
    names, each with a hash of what was in it, and ``reason`` says why this sampler ran where none
    was named. ``seconds`` is how long the last call took.
    """

    model: str
    fingerprint: str | None
    guidance: str | None
    recipe: str
    process: ProcessRecord | None
    grid: GridRecord | None
    nfe: int | None
    network_calls: int | None
    seed: int
    samples: tuple[int, ...]
    shape: tuple[int, ...] | None = None
    reason: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    label: str | None = None
    labels: int | tuple[int, ...] | None = None
    start: ImagesRecord | None = None
    init: ImagesRecord | None = None
    strength: float | None = None
    mask: ImagesRecord | None = None
    blend: Literal["before", "after"] | None = None
    noise: str = "independent"
    batches: tuple[tuple[int, ...], ...] | None = None
    text_to_image: TextToImageRecord | None = None
    restoration: RestorationRecord | None = None
    micro_batch: int
    dtype: str
    device: str
    threads: int | None
    versions: dict[str, str]
    command: tuple[str, ...] | None = None
    seconds: float | None = None
    schema: int = SCHEMA

    def __repr__(self) -> str:
        chain = " under ".join(filter(None, [self.recipe, self.guidance]))
        made = counted(len(self.samples), "sample")
        return f"RunRecord({self.model}: {chain}, {made} of seed {self.seed})"

    def text(self) -> str:
        """The record as JSON, an entry a line."""
        return json_text(self.entries())

    def entries(self) -> dict[str, Any]:
        """The record as a JSON object: ``schema`` first, sample numbers as a text of ranges."""
        found = encode(self)
        if self.samples and min(self.samples) >= 0:
            found["samples"] = ranges(self.samples)
        return {"schema": found.pop("schema"), **found}

    @classmethod
    def of_entries(cls, entries: Any, where: str = "The record") -> RunRecord:
        """What :meth:`entries` gives, back.

        Raises:
            UserError: anything else.
        """
        if not isinstance(entries, dict):
            raise UserError(f"{where} is not the record of a run; expected a JSON object.")
        check_schema(entries, where)
        entries = dict(entries)
        if isinstance(entries.get("samples"), str):
            entries["samples"] = list(numbers(entries["samples"]))
        return decode(cls, entries, where)

    def write(self, path: Path | str) -> None:
        """Write the record, atomically.

        Raises:
            UserError: where that cannot be done.
        """
        write_atomically(Path(path), self.text().encode())

    @classmethod
    def read(cls, path: Path | str) -> RunRecord:
        """The record in a file, or in the folder of a run.

        Raises:
            UserError: a file that is missing, damaged, not a record, or of a version that this one
                does not know.
        """
        path = Path(path)
        path = path / RECORD if os.path.isdir(path) else path
        if not os.path.isfile(path):
            raise UserError(f"There is no record {path}; give a run.json or the folder of a run.")
        return cls.of_entries(read_object(path), str(path))


def check_schema(entries: dict[str, Any], where: str) -> None:
    """Raise :class:`UserError` unless ``entries`` are of the version that is read here."""
    version = entries.get("schema")
    if version is None:
        raise UserError(
            f"{where} is a record without a version, from before version {SCHEMA}, which lacks what"
            " it takes to repeat or continue the run; make the run again in another folder, or with"
            " --overwrite."
        )
    if type(version) is not int or version != SCHEMA:
        newer = type(version) is int and version > SCHEMA
        raise UserError(
            f"{where} is a record of version {version}, and this diffdescent reads version"
            f" {SCHEMA}; {'update diffdescent' if newer else 'make the run again'}."
        )


def versions() -> dict[str, str]:
    """The versions of diffdescent and PyTorch."""
    return {"diffdescent": __version__, "torch": str(torch.__version__)}
