"""Run a study: prepare its folder, run the shards that are missing, gather them into a table.

The folder of a study:

    study.json                 the study, its protocol and its cells shards/CELL/A-B.npz        what
    was computed, a file for each range of samples cache/, scores/            the reference's
    features, exact solutions, scores: made again when they are lost table.parquet, table.csv   one
    row for each cell and metric report.html, report.md
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from diffdescent.base.errors import UserError
from diffdescent.base.files import make_folder, write_atomically
from diffdescent.base.version import __version__
from diffdescent.run import fingerprint

from . import contrasts, shards
from .cells import Cell, LeftOut, expand
from .config import StudyConfig
from .metrics import metrics_of
from .shards import Task
from .worker import Worker

RECORD = "study.json"
CACHE = "cache"
NAMED = 4
"""An error names at most this many differences between two protocols."""
Watch = Callable[[Task], None]
"""Called after each shard that was written."""


@dataclass(frozen=True)
class Study:
    """A study that is ready to run: its cells and the protocol under which all of them are made."""

    config: StudyConfig
    out: Path
    cells: tuple[Cell, ...]
    left_out: tuple[LeftOut, ...]
    protocol: dict[str, Any]
    worker: Worker

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
        return hashlib.sha256(json.dumps(self.protocol, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def cache(self) -> Path:
        """Where exact solutions and the reference's features are kept."""
        return self.out / CACHE


def prepare(config: StudyConfig, out: Path) -> Study:
    """Load the model, lay out the cells, and check that ``out`` is new or holds the same protocol.

    Nothing is written. Raises :class:`UserError` for what cannot be run, and for a folder with
    another protocol.
    """
    worker = Worker(config)
    protocol: dict[str, Any] = {
        "model": config.model,
        "fingerprint": fingerprint(worker.model),
        "dtype": config.dtype,
        "device": worker.device.type,
        "micro_batch": worker.width,
        "threads": config.threads if worker.device.type == "cpu" else None,
        "shard": config.shard,
        "images": config.images,
        "features": dict(worker.extractor.protocol) if worker.needs.features else None,
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
    _check(out, protocol)
    return Study(config, out, tuple(cells), tuple(left_out), protocol, worker)


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
    record = out / RECORD
    if not record.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))["protocol"]
    except (ValueError, KeyError):
        raise UserError(
            f"{record} is damaged; remove it to have it made again, or choose another --out."
        ) from None
    return found


def _check(out: Path, protocol: dict[str, Any]) -> None:
    """Refuse a folder of another protocol, naming what differs, and one without a study."""
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give a folder as --out.")
    before = _recorded(out)
    if before is None:
        # Another study's cache may be there already: it saves reading the same reference again.
        if out.is_dir() and any(
            not p.name.startswith(".") and p.name != CACHE for p in out.iterdir()
        ):
            raise UserError(
                f"{out} holds files but no {RECORD}, so it is not a study's folder; choose another"
                " --out."
            )
        return
    # What an older record does not say cannot be compared.
    different = [
        f"{key} ({_short(value)} there, {_short(protocol.get(key))} now)"
        for key, value in before.items()
        if value != protocol.get(key)
    ]
    if different:
        more = f" and {len(different) - NAMED} more differences" if len(different) > NAMED else ""
        raise UserError(
            f"{out} holds a study with another {' and another '.join(different[:NAMED])}{more}; "
            "choose another --out, or the same settings to continue it."
        )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "…"


def begin(study: Study) -> None:
    """Make the folder and write the record. Raises :class:`UserError` where that cannot be done."""
    make_folder(study.out)
    record = {
        "protocol": study.protocol,
        "study": study.config.model_dump(mode="json", exclude_none=True),
        "cells": [asdict(cell) for cell in study.cells],
        "left_out": [asdict(left) for left in study.left_out],
    }
    write_atomically(study.out / RECORD, (json.dumps(record, indent=1) + "\n").encode())


def run(study: Study, tasks: list[Task], watch: Watch | None = None) -> None:
    """Run ``tasks`` one after another in this process; each shard is on disk before the next one
    begins."""
    begin(study)
    for task in tasks:
        payload = study.worker.run(task, study.cache if study.worker.needs.exact else None)
        shards.write(task.path(study.out), shards.pack(payload))
        if watch is not None:
            watch(task)
