"""The share of peculiar figures against sampler, steps, momentum, γ and grid, next to a teacher of
many steps.

Every point of the study starts from the same noise, so that two points compare figure by figure.
Samples are made in blocks, each written to its own file as soon as it is there: a study that is
stopped goes on where it was, and one that was finished can be given more samples. Blocks go round
all points, so that at any moment the table is balanced.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.files import Arrays, pack_arrays, read_arrays
from diffdescent.base.images import to_uint8
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import parse, parse_grid
from diffdescent.run import sample
from diffdescent.run.json_files import read_object
from diffdescent.run.pieces import model_identity
from diffdescent.run.store import Kind, Store

from .counter import Readings, Unreadable, count_limbs
from .points import Point
from .species import SPECIES
from .thresholds import thresholds

STUDY = Kind(
    what="peculiarity study",
    record="study.json",
    entries=re.compile(r"[0-9a-f]{12}-\d{4}\.npz"),
    owns=lambda record: "counter" in record,
    remedy="choose another folder, or the same settings.",
)
WIDTH = 50
"""Samples that the network sees at once. Part of the record: another width changes the images' last
bits."""


def run_study(
    model: Predictor,
    points: Sequence[Point],
    n: int,
    out: Path,
    *,
    seed: int = 0,
    block: int = 100,
    bf16: bool = False,
    unconditional: bool = False,
    progress: Callable[[int, int, Point], None] | None = None,
) -> None:
    """Make samples 0 … n − 1 of every point, count their limbs and write both, a file for each
    block.

    Args:
        model: what is sampled; its images must be grey figures.
        points: recipes, steps and grids.
        n: samples of each point, a multiple of ``block``.
        out: the study's folder; blocks that it has already are not made again.
        seed: of the noise that all points start from.
        block: samples a file.
        bf16: evaluate the network under bfloat16 autocast; the update stays in float32.
        unconditional: ask for no species. Otherwise, and where the model knows classes, sample i is
            asked to be species i mod 3.
        progress: called with (evaluations done, evaluations in all, point) after each block.

    Raises:
        UserError: n is not a multiple of the block, or the folder holds a study of another model,
            seed or precision.
    """
    if n < 1 or block < 1 or n % block:
        raise UserError(
            f"n={n} must be a multiple of the block of {block} samples, and at least one block."
        )
    if model.shape is not None and model.shape[0] != 1:
        raise UserError(
            "The study needs a model of grey figures, one channel; this one's images are"
            f" {model.shape}."
        )
    points = list(dict.fromkeys(points))
    cost = {p: parse(p.recipe).plan(parse_grid(p.grid, model.process, p.steps)).nfe for p in points}
    record: dict[str, object] = {
        "model": model_identity(model), "seed": seed, "block": block, "bf16": bf16, "width": WIDTH,
        "species": _known(), "counter": thresholds(), "unconditional": unconditional,
    }  # fmt: skip
    store = Store(out, STUDY, record)
    store.claim()
    todo = [(p, b) for b in range(n // block) for p in points if not store.has(_block(p, b))]
    total, done = sum(cost[p] for p, _ in todo) * block, 0
    for point, number in todo:
        samples = range(number * block, (number + 1) * block)
        labels = None if unconditional else asked(model, samples)
        with precision(model, bf16):
            images = to_uint8(
                sample(
                    model,
                    point.recipe,
                    steps=point.steps,
                    grid=point.grid,
                    seed=seed,
                    batch_size=block,
                    samples=samples,
                    labels=None if labels is None else labels.tolist(),
                    micro_batch=WIDTH,
                    progress=False,
                ).images
            )
        found = _packed(images[:, 0].numpy(), count_limbs(images), labels, point)
        store.write(_block(point, number), found)
        done += cost[point] * block
        if progress is not None:
            progress(done, total, point)


def asked(model: Predictor, samples: Sequence[int]) -> npt.NDArray[np.int64] | None:
    """The species that each sample is asked to be, its place in :data:`SPECIES`; None for a model
    without classes."""
    if (info(model).label_count or 0) < len(SPECIES):
        return None
    return np.array(samples, np.int64) % len(SPECIES)


def _known() -> dict[str, list[int]]:
    return {name: list(s.counts) for name, s in SPECIES.items()}


@contextlib.contextmanager
def precision(model: Predictor, bf16: bool) -> Iterator[None]:
    """Evaluate the model under bfloat16 autocast, or as it is; the update stays in float32 either
    way."""
    kind = torch.device(info(model).device).type
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=bf16):
        yield


def same_model(out: Path, model: Predictor) -> None:
    """Raise :class:`UserError` where ``model`` is not the one whose samples the study's folder
    holds."""
    before = read_object(out / STUDY.record)
    if before.get("model") != model_identity(model):
        raise UserError(
            f"{out} holds samples of another model; name the one that the study was made with."
        )


def _block(point: Point, number: int) -> str:
    """The name of a block of samples."""
    return f"{point.slug}-{number:04d}.npz"


def _packed(
    images: npt.NDArray[np.uint8],
    readings: Readings,
    labels: npt.NDArray[np.int64] | None,
    point: Point,
) -> bytes:
    arrays: Arrays = {
        "images": images,
        "counts": readings.counts.astype(np.int16),
        "unreadable": np.array(readings.unreadable),
        "labels": np.full(len(images), -1) if labels is None else labels,
        "point": np.array(json.dumps([point.recipe, point.steps, point.grid])),
    }
    return pack_arrays(arrays, compressed=True)


@dataclass(frozen=True)
class Outcome:
    """What one point gave, samples 0 … n − 1: images (n, 32, 32) uint8, their readings, and the
    species asked for.

    ``labels`` (n,) are places in :data:`SPECIES`, −1 where none was asked for.
    """

    point: Point
    images: npt.NDArray[np.uint8]
    readings: Readings
    labels: npt.NDArray[np.int64]

    @property
    def other(self) -> npt.NDArray[np.bool_]:
        """Which figures are of a species, but not of the one asked for."""
        names = list(SPECIES)
        pairs = zip(self.readings.species, self.labels.tolist(), strict=True)
        return np.array([s in SPECIES and k >= 0 and s != names[k] for s, k in pairs], dtype=bool)

    @property
    def peculiar(self) -> npt.NDArray[np.bool_]:
        """Which figures are readable and of no species."""
        return self.readings.peculiar

    @property
    def normal(self) -> npt.NDArray[np.bool_]:
        """Which figures are of a species, asked for or not."""
        return ~self.abnormal

    @property
    def abnormal(self) -> npt.NDArray[np.bool_]:
        """Which figures are of no species, readable or not."""
        return self.readings.peculiar | ~self.readings.readable


def outcomes(out: Path) -> list[Outcome]:
    """All points of a study that have at least one block, each as far as its blocks follow each
    other from 0.

    Raises:
        UserError: the folder holds no study.
    """
    groups: dict[str, list[Path]] = {}
    for path in sorted(p for p in out.glob("*.npz") if STUDY.entries.fullmatch(p.name)):
        slug, number = path.stem.rsplit("-", 1)
        if int(number) == len(groups.setdefault(slug, [])):
            groups[slug].append(path)
    found = [_load(paths) for paths in groups.values() if paths]
    if not found:
        raise UserError(f"{out} holds no study; run `diffdescent peculiarity study` first.")
    return found


def _load(paths: list[Path]) -> Outcome:
    images, counts, labels = [], [], []
    reasons: list[Unreadable] = []
    for path in paths:
        data = read_arrays(path)
        images.append(data["images"])
        counts.append(data["counts"].astype(np.int64))
        labels.append(data["labels"])
        reasons += [cast(Unreadable, str(why)) for why in data["unreadable"]]
        recipe, steps, grid = json.loads(str(data["point"]))
    readings = Readings(np.concatenate(counts), reasons)
    return Outcome(
        Point(recipe, steps, grid), np.concatenate(images), readings, np.concatenate(labels)
    )
