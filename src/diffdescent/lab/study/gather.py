"""From shards to results: scores of every finished cell, the table, the report."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from diffdescent import evaluate
from diffdescent.base.errors import UserError
from diffdescent.base.files import (
    kept_arrays,
    make_folder,
    pack_arrays,
    write_atomically,
)
from diffdescent.base.hashes import files_hash, json_hash
from diffdescent.evaluate import METRICS, Features, Score, make_reference
from diffdescent.evaluate import read_reference as read_images
from diffdescent.evaluate.notes import texts
from diffdescent.evaluate.own_solution import CoarseSolution

from . import metrics, shards, table
from .cells import Cell
from .contrasts import Contrasted, contrast
from .paired_table import write_paired
from .published import Compared, compare
from .shards import Payload
from .summary import Line, lines_of

if TYPE_CHECKING:
    import polars

    from .runner import Study

Scoring = Callable[[int, int], None]
"""Called with (cells scored, in all)."""


@dataclass(frozen=True)
class Results:
    """What a study found.

    ``lines`` are its cells over all seeds, ``pictures`` the first images (k, C, H, W) of each cell
    by its key, and ``unfinished`` the cells of which shards are missing; ``remarks`` is what the
    metrics say a reader should beware of. The model's own solution is known to ``unknown`` where
    that is too much for some distance to it, else 0.
    """

    study: Study
    frame: polars.DataFrame
    lines: tuple[Line, ...]
    published: tuple[Compared, ...]
    contrasts: tuple[Contrasted, ...]
    pictures: dict[str, npt.NDArray[np.uint8]]
    unfinished: tuple[Cell, ...]
    remarks: tuple[str, ...]
    unknown: float = 0.0


def gather(
    study: Study, watch: Scoring | None = None, reference: StudyReference | None = None
) -> Results:
    """Score every cell whose shards are all there, and write the tables.

    ``reference`` is one that :func:`read_reference` has read.

    Scores and the reference's features are kept in the folder, so that a second call is quick.

    Args:
        study: by :func:`prepare`.
        watch: called as the scoring goes on.
        reference: one that :func:`read_reference` has read; None reads it.

    Returns:
        The :class:`Results` of all cells that are finished.

    Raises:
        UserError: when no cell is finished, and a reference that cannot be read or has another
            protocol.
    """
    by_cell: dict[str, list[shards.Task]] = {}
    for task in study.tasks:
        by_cell.setdefault(task.cell.key, []).append(task)
    lacking = {task.cell.key for task in shards.missing(study.tasks, study.out)}
    finished = [cell for cell in study.cells if cell.key not in lacking]
    if not finished:
        raise UserError(
            f"No cell in {study.out} is finished, so there is nothing to report; run the study"
            " first."
        )
    reference = reference or StudyReference(study)
    scored, pictures = [], {}
    for count, cell in enumerate(finished):
        payloads = [_payload(task.path(study.out)) for task in by_cell[cell.key]]
        scores = _scores(study, cell, payloads, reference)
        seconds = float(sum(payload["seconds"] for payload in payloads)) / study.config.n
        scored.append(table.Scored(cell, tuple(scores), seconds, float(payloads[0]["flops"])))
        pictures[cell.key] = np.concatenate([payload["images"] for payload in payloads])
        if watch is not None:
            watch(count + 1, len(finished))
    rows = table.rows_of(study, scored)
    frame = table.tidy(rows)
    table.write(frame, study.out)
    lines = lines_of(rows, [*study.cells[0].columns(), *study.parameters])
    beside = tuple(compare(one, lines) for one in study.config.published)
    contrasts = tuple(contrast(one, lines, study.parameters) for one in study.config.contrasts)
    write_paired(study.out, lines, beside, contrasts)
    unfinished = tuple(cell for cell in study.cells if cell.key in lacking)
    found = [note for one in scored for score in one.scores for note in score.notes]
    unknown = max((one.error for one in found if isinstance(one, CoarseSolution)), default=0.0)
    return Results(
        study, frame, tuple(lines), beside, contrasts, pictures, unfinished, texts(found), unknown
    )


def read_reference(study: Study) -> StudyReference:
    """Read the reference before any sampling, for :func:`gather`; its features are kept in the
    study's folder.

    Args:
        study: by :func:`prepare`.

    Returns:
        The reference, for :func:`gather`.

    Raises:
        UserError: one that cannot be read, has another protocol, or lacks what a metric looks at.
    """
    found = StudyReference(study)
    if (reference := found()) is not None:
        evaluate.check_against(
            [name for name in study.metrics if name not in metrics.FROM_NOISE], reference
        )
    return found


class StudyReference:
    """The reference, read when a score first needs it; its features are kept in the study's
    folder."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.found: Any = None

    def __call__(self) -> Any:
        if self.found is None and self.study.worker.needs.reference:
            self.found = self._load() or self._read()
        return self.found

    @property
    def path(self) -> Path:
        protocol = [
            self.study.protocol[key] for key in ("features", "reference", "reference_content")
        ]
        return self.study.cache / f"reference-{json_hash(protocol, 12)}.npz"

    def _load(self) -> Any:
        """What an earlier run kept; None where there is nothing, or it is damaged."""
        arrays = kept_arrays(self.path)
        if arrays is None:
            return None
        kept = _tensors(arrays)
        protocol = self.study.worker.extractor.protocol
        features = Features(**kept, protocol=protocol)
        return make_reference(features, str(self.study.protocol["reference"]))

    def _read(self) -> Any:
        reference = read_images(str(self.study.config.reference), self.study.worker.extractor)
        # The name that it has in the record, and again when the kept features are read.
        reference = replace(reference, name=str(self.study.protocol["reference"]))
        if reference.features is not None and reference.count == len(reference.features):
            features = reference.features
            kept = {"pool": features.pool, "spatial": features.spatial, "probs": features.probs}
            arrays = {k: v.numpy() for k, v in kept.items() if v is not None}
            make_folder(self.path.parent)
            write_atomically(self.path, pack_arrays(arrays))
        return reference


def _tensors(payload: Payload) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(array) for name, array in payload.items()}


@cache
def _formulas(names: tuple[str, ...]) -> str:
    """A hash of the programs that score, so that what others have computed is not taken for
    theirs."""
    folder = Path(evaluate.__file__).parent
    own = {inspect.getsourcefile(METRICS[name].compute) for name in names if name in METRICS}
    files = {*folder.rglob("*.py"), Path(metrics.__file__), *map(Path, filter(None, own))}
    return files_hash(sorted(files))


def _scores(
    study: Study, cell: Cell, payloads: list[Payload], reference: StudyReference
) -> list[Score]:
    """The scores of a cell, from the folder where they are known."""
    what = [
        cell.key,
        study.config.n,
        study.config.resamples,
        study.metrics,
        study.protocol,
        _formulas(study.metrics),
    ]
    path = study.out / "scores" / f"{json_hash(what, 16)}.json"
    try:
        return _read_scores(path)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        protocol = study.worker.extractor.protocol if study.worker.needs.features else {}
        found = metrics.scores(study.config, cell, study.metrics, payloads, reference(), protocol)
        make_folder(path.parent)
        data = [{**one.to_json(), "draws": one.draws} for one in found]
        write_atomically(path, json.dumps(data).encode())
        # What is read back later is what is used now.
        return _read_scores(path)


def _read_scores(path: Path) -> list[Score]:
    """The scores in a file. Raises some :class:`ValueError`, TypeError, KeyError or
    AttributeError for one that was edited or damaged."""
    found = [Score.from_json(one) for one in json.loads(path.read_text(encoding="utf-8"))]
    for one in found:
        known = isinstance(one.metric, str) and one.metric in {**METRICS, **metrics.FROM_NOISE}
        numbers = all(isinstance(value, (int, float)) for value in one.draws)
        if not (known and numbers and isinstance(one.protocol, dict)):
            raise ValueError(f"{path} holds other things than scores")
    return found


def _payload(path: Path) -> Payload:
    """A shard's arrays. Raises :class:`UserError` for one whose checksums hold and that cannot be
    read all the same, once it is set aside."""
    found: Payload | None = kept_arrays(path)
    if found is None:
        raise UserError(
            f"{path} held something else than a shard; give the same command again to make it."
        )
    return found
