"""Run a study: prepare its folder, run the shards that are missing, gather them into a table.

The folder of a study:

    study.json                the study, its protocol and its cells
    shards/CELL/A-B.npz       what was computed, a file for each range of samples
    cache/, scores/           the reference's features, exact solutions, scores: made again if lost
    table.parquet, table.csv  one row for each cell and metric
    paired.csv                the differences that are tested
    report.html, report.md    the same for people
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from diffdescent.base.errors import UserError
from diffdescent.base.files import pack_arrays
from diffdescent.base.hashes import json_hash
from diffdescent.base.version import __version__
from diffdescent.core.predict import Predictor
from diffdescent.run.json_files import read_object
from diffdescent.run.pieces import model_identity
from diffdescent.run.store import Kind, Store

from . import contrasts, published, shards
from .cells import Cell, LeftOut, expand
from .config import StudyConfig
from .metrics import metrics_of
from .shards import Task
from .worker import Worker

CACHE = "cache"
STUDY = Kind(
    what="study",
    record="study.json",
    entries=re.compile(r"shards/[^/]+/\d{6,}-\d{6,}\.npz"),
    # Another study's cache may be there already: it saves reading the same reference again.
    before=re.compile(rf"{CACHE}|\..*"),
    owns=lambda record: "protocol" in record,
    section="protocol",
    lenient=True,
    remedy="choose another --out, or the same settings to continue it.",
)
Watch = Callable[[Task], None]
"""Called after each shard that was written."""


@dataclass(frozen=True)
class Study:
    """A study that is ready to run: its cells and the protocol under which all of them are made.

    ``given`` says that its model was handed over, so that no name leads to it.
    """

    config: StudyConfig
    out: Path
    cells: tuple[Cell, ...]
    left_out: tuple[LeftOut, ...]
    protocol: dict[str, Any]
    worker: Worker
    store: Store
    given: bool = False

    @property
    def tasks(self) -> list[Task]:
        """Every shard of the study."""
        return shards.tasks_of(self.cells, self.config.n, self.config.shard)

    @property
    def metrics(self) -> tuple[str, ...]:
        """What is measured, the first one ranks."""
        return metrics_of(self.config, self.worker.model)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters that its cells name, in order."""
        return tuple(dict.fromkeys(name for cell in self.cells for name, _ in cell.parameters))

    @property
    def protocol_hash(self) -> str:
        """A short name of the protocol."""
        return json_hash(self.protocol, 12)

    @property
    def kept(self) -> Path | None:
        """Where workers keep exact and own solutions; None where they make none."""
        needs = self.worker.needs
        return self.cache if needs.exact or needs.solution else None

    @property
    def cache(self) -> Path:
        """Where solutions and the reference's features are kept."""
        return self.out / CACHE


def prepare(
    config: StudyConfig, out: Path, model: Predictor | None = None, *, named: bool = True
) -> Study:
    """Load the model, lay out the cells, and check that ``out`` is new or holds the same protocol.

    ``model`` is one that is loaded already, and ``named`` says whether the name in ``config`` leads
    to it too; None loads the one of that name. Nothing is written.

    Args:
        config: what to compute.
        out: the study's folder; it need not be there.
        model: one that is loaded already; None loads the one that ``config`` names.
        named: whether the name in ``config`` leads to ``model`` too.

    Returns:
        The :class:`Study`: its model, cells and tasks.

    Raises:
        UserError: what cannot be run, and a folder with another protocol.
    """
    _check_unused(config, out)
    worker = Worker(config, model)
    protocol: dict[str, Any] = {
        "model": config.model,
        "fingerprint": model_identity(worker.model),
        "dtype": config.dtype,
        "device": worker.device.type,
        "micro_batch": worker.width,
        "threads": config.threads if worker.device.type == "cpu" else None,
        "shard": config.shard,
        "images": config.images,
        "features": dict(worker.extractor.protocol) if worker.needs.features else None,
        **({"solution": config.solution} if worker.needs.solution else {}),
        "kept": [name for name, needed in asdict(worker.needs).items() if needed],
        **_reference(config, worker, out),
        "versions": {"diffdescent": __version__, "torch": torch.__version__},
    }
    protocol = json.loads(json.dumps(protocol))  # as it will be read back
    images = {k: protocol[k] for k in ("fingerprint", "dtype", "device", "micro_batch", "threads")}
    cells, left_out = expand(config, worker.guided, images)
    for cell in cells:
        worker.check(cell)
    names = dict.fromkeys(
        name for cell in cells for name in (*cell.columns(), *dict(cell.parameters))
    )
    for one in config.contrasts:
        contrasts.check(one, names)
    for table in config.published:
        published.check(table, names)
    record = {
        "protocol": protocol,
        "study": config.model_dump(mode="json", exclude_none=True),
        "cells": [asdict(cell) for cell in cells],
        "left_out": [asdict(left) for left in left_out],
    }
    store = Store(out, STUDY, record)
    store.check()
    return Study(
        config, out, tuple(cells), tuple(left_out), protocol, worker, store, given=not named
    )


def _check_unused(config: StudyConfig, out: Path) -> None:
    """Raise :class:`UserError` for an extractor or a reference that is not there, also where no
    metric asks for it."""
    from diffdescent.evaluate.extractors import check_extractor

    check_extractor(config.features)
    if config.reference is None or os.path.exists(config.reference):
        return
    if not _recorded(out):
        raise UserError(
            f"There is no reference {config.reference}; give a folder, zip or npz of images, or an"
            " npz of statistics."
        )


def _reference(config: StudyConfig, worker: Worker, out: Path) -> dict[str, str | None]:
    """The reference's name and a hash of its content. Where the images are gone, what the folder's
    record says."""
    if config.reference is None or not worker.needs.reference:
        return {"reference": None, "reference_content": None}
    from diffdescent.evaluate import METRICS
    from diffdescent.evaluate.reference import check_reference

    path = Path(config.reference)
    before = None if path.exists() else (_recorded(out) or {}).get("reference_content")
    singly = any(
        name in METRICS and METRICS[name].against == "pool"
        for name in metrics_of(config, worker.model)
    )
    found = before or check_reference(path, worker.extractor, keep=singly)
    return {"reference": path.name, "reference_content": found}


def _recorded(out: Path) -> dict[str, Any] | None:
    """The protocol of the study in ``out``; None where there is none."""
    record = out / STUDY.record
    return STUDY.settings(read_object(record), record) if record.is_file() else None


def begin(study: Study) -> None:
    """Claim the folder, before the first shard.

    Raises:
        UserError: where that cannot be done or another study has it.
    """
    study.store.claim()


def run(study: Study, tasks: list[Task], watch: Watch | None = None) -> None:
    """Run ``tasks`` one after another in this process; each shard is on disk before the next one
    begins.

    Args:
        study: by :func:`prepare`.
        tasks: which of its shards.
        watch: called as the runs go on.
    """
    begin(study)
    for task in tasks:
        payload = study.worker.run(task, study.kept)
        study.store.write(task.name, pack_arrays(payload))
        if watch is not None:
            watch(task)
