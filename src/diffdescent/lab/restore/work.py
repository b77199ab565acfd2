"""The work of a restoration: measurements of images, samples of every cell, kept as they are made.

The folder: run.json (the settings), cells/CELL/A-B.npz (the samples of images A … B − 1, and the
seconds they took), pictures/, table.csv and sheet.png, which are made anew from these.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.device import pick_device, use_threads
from diffdescent.base.errors import UserError
from diffdescent.base.files import pack_arrays
from diffdescent.core.model_info import info
from diffdescent.core.operators import Bound, Masked, parse_operator
from diffdescent.core.predict import Predictor
from diffdescent.models import load_model
from diffdescent.run import draw, prepare_restoration
from diffdescent.run.image_files import read_init
from diffdescent.run.inputs import digest
from diffdescent.run.problem import measure
from diffdescent.run.progress import Callback
from diffdescent.run.record import versions
from diffdescent.run.store import Kind, Store

from .config import Cell, RestoreConfig

SHARD = 8
"""Images of one file of samples."""
RESTORATION = Kind(
    what="restoration",
    record="run.json",
    entries=re.compile(r"cells/[^/]+/\d{6,}-\d{6,}\.npz"),
    others=re.compile(r"(sheet\.png|table\.csv|pictures/.*\.png)"),
    owns=lambda record: "methods" in record,
    free=frozenset({"command", "about"}),
    remedy="use --overwrite to replace it, another --out to keep both, or the same settings to"
    " continue it.",
)
Watch = Callable[[Cell, int], None]
"""Called with a cell and the images that were finished."""


@dataclass(frozen=True)
class Samples:
    """The samples (k, n, C, H, W) of one cell, and the seconds that one sample took."""

    cell: Cell
    images: Tensor
    seconds: float


@dataclass
class Work:
    """Images from ``path``, measured and restored in ``out`` as ``config`` says.

    ``measured`` means that the images are what was measured, and there are no originals. Raises
    :class:`UserError` for images that do not fit the model.
    """

    config: RestoreConfig
    path: Path
    out: Path
    measured: bool = False
    overwrite: bool = False
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        use_threads(self.config.threads)
        self.device = pick_device(self.config.device)
        self.store = Store(self.out, RESTORATION, self.document(), self.overwrite)
        self.store.check()

    @cached_property
    def model(self) -> Predictor:
        """The model. Raises :class:`UserError` where it does not say the size of its images."""
        if (Path(self.config.model) / "model_index.json").is_file() and _decodes(self.config.model):
            raise UserError(
                f"{self.config.model!r} is a pipeline that decodes its images from latents, and an"
                " operator measures images; give a model of pixels, or the pipeline's own"
                " inpainting and super-resolution."
            )
        found = load_model(self.config.model, str(self.device))
        if found.shape is None:
            raise UserError("The model does not say how large its images are; use dd.restore.")
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W) of the model's images."""
        return tuple(self.model.shape or ())

    @cached_property
    def given(self) -> Tensor:
        """The images of the file, (k, C, H, W) in [−1, 1]."""
        found = read_init(self.path, self.shape[0])[: self.config.count]
        if found.shape[1] == 1 and self.shape[0] == 3:
            found = found.expand(-1, 3, -1, -1)
        if not self.measured and tuple(found.shape[1:]) != self.shape:
            raise UserError(
                f"{self.path} holds images of shape {tuple(found.shape[1:])}, and the model's are"
                f" {self.shape}; resize them, or say --measured if they are measurements."
            )
        return found

    def operator(self, cell: Cell, dtype: torch.dtype = torch.float32) -> Bound:
        """The cell's operator on the model's images."""
        parsed = parse_operator(cell.operator)
        return parsed.bind(self.shape, seed=self.config.seed, device=self.device, dtype=dtype)

    def y(self, cell: Cell, first: int = 0, last: int | None = None) -> Tensor:
        """The measurements of images ``first`` … ``last`` − 1: simulated, or those given. What a
        mask hides counts as not measured, whatever is painted there."""
        operator, some = self.operator(cell), self.given[first:last].to(self.device)
        if not self.measured:
            numbers = range(first, first + len(some))
            return measure(operator, some, cell.noise, self.config.seed, numbers)
        if tuple(some.shape[1:]) != operator.out_shape:
            raise UserError(
                f"{self.path} holds images of shape {tuple(some.shape[1:])}, and"
                f" {cell.operator!r} measures {operator.out_shape}."
            )
        return operator.forward(some) if isinstance(operator, Masked) else some

    def document(self) -> dict[str, Any]:
        """The settings, for run.json."""
        return {
            "schema": 1,
            **asdict(self.config),
            "fingerprint": info(self.model).fingerprint,
            "images": {"path": str(self.path), "sha256": digest(self.given)},
            "measured": self.measured,
            "shard": SHARD,
            "versions": versions(),
            "command": list(self.command),
        }

    def run(self, watch: Watch | None = None, callback: Callback | None = None) -> None:
        """Make what is missing; each file is on disk before the next one begins."""
        for cell in self.config.cells():  # a mistake in the last cell shows before the first
            run = self._prepared(cell, 0, 1)
            _, recipe = run.answering(range(len(run.samples)))
            for move in recipe.displacements:
                move.init(run.plan)
        self.store.claim()
        for cell in self.config.cells():
            for first, last in self._shards():
                name = _file(cell, first, last)
                if not self.store.has(name):
                    self.store.write(name, pack_arrays(self._made(cell, first, last, callback)))
                if watch is not None:
                    watch(cell, last - first)

    def samples(self, cell: Cell) -> Samples:
        """What was made of a cell. Raises :class:`UserError` where something is missing."""
        found = [self.store.arrays(_file(cell, a, b)) for a, b in self._shards()]
        if any(one is None for one in found):
            raise UserError(f"{self.out} lacks images of {cell.method!r}; give its command again.")
        kept = [one for one in found if one is not None]
        images = torch.cat([torch.from_numpy(one["images"]) for one in kept])
        seconds = sum(float(one["seconds"]) for one in kept)
        return Samples(cell, images, seconds / (len(images) * self.config.n))

    def _shards(self) -> Iterator[tuple[int, int]]:
        total = len(self.given)
        return ((a, min(a + SHARD, total)) for a in range(0, total, SHARD))

    def _prepared(self, cell: Cell, first: int, last: int) -> Any:
        config = self.config
        return prepare_restoration(
            self.model,
            self.y(cell, first, last),
            self.operator(cell),
            noise=cell.noise,
            method=cell.method,
            sampler=config.sampler,
            nfe=cell.nfe,
            grid=config.grid,
            n=config.n,
            numbers=range(first, last),
            seed=config.seed,
            labels=config.label,
            guidance=config.guidance,
            micro_batch=config.micro_batch,
            device=self.device,
            name=config.model,
        )

    def _made(
        self, cell: Cell, first: int, last: int, callback: Callback | None
    ) -> dict[str, np.ndarray[Any, Any]]:
        run = self._prepared(cell, first, last)
        begun = time.perf_counter()
        images = torch.cat([batch.images for batch in draw(run, callback=callback)])
        seconds = time.perf_counter() - begun
        shaped = images.reshape(last - first, self.config.n, *self.shape).cpu()
        return {"images": shaped.numpy(), "seconds": np.array(seconds)}


def _decodes(folder: str) -> bool:
    """Whether a pipeline's folder has an autoencoder."""
    return any((Path(folder) / name).is_dir() for name in ("vae", "vqvae", "movq", "vqgan"))


def _file(cell: Cell, first: int, last: int) -> str:
    return f"cells/{cell.key}/{first:06d}-{last:06d}.npz"
