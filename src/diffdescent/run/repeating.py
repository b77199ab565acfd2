"""A run again, from its record."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.calls import check_call
from diffdescent.core.predict import Predictor
from diffdescent.models import load_model
from diffdescent.models.adapt import as_model

from .image_files import read_init, read_mask
from .prepared import Run
from .preparing import make_recipe, prepare
from .progress import Callback
from .record import ImagesRecord, ProcessRecord, RunRecord
from .result import Result
from .sampling import collect


def repeat(
    record: RunRecord | Path | str,
    model: Predictor | None = None,
    *,
    init: Tensor | None = None,
    mask: Tensor | None = None,
    start: Tensor | None = None,
    batch_size: int | None = None,
    callback: Callback | None = None,
) -> Result:
    """Run again what ``record`` says, a record or the path of one (a file, or a run's folder).

    The images are the same to the last bit where the versions of the libraries and the machine are.
    ``model`` is needed where the record does not say from where to load it (one that was made in
    Python), ``init``, ``mask`` and ``start`` where it does not say from which file they came. The
    CPU's threads are those of the record while it runs.

    Args:
        record: a :class:`RunRecord`, its ``run.json``, or the folder of a run.
        model: needed where the record does not say from where to load it.
        init: the images that the run began from, where the record does not name their file.
        mask: the mask of an inpainting run, likewise.
        start: the state that the run began from, likewise.
        batch_size: samples in memory at a time; None is the run's own.
        callback: called after each evaluation with a :class:`Progress`.

    Returns:
        A :class:`Result` with the images of the run.

    Raises:
        UserError: a model or images that are not those of the record, and a record of another kind.

    A model without a fingerprint cannot be compared with the record; a warning says so.
    """
    check_call(repeat, locals())
    found = record if isinstance(record, RunRecord) else RunRecord.read(record)
    run = prepare_again(found, model, init=init, mask=mask, start=start, batch_size=batch_size)
    with _threads(found.threads if run.device.type == "cpu" else None):
        return collect(run, callback=callback)


def prepare_again(
    record: RunRecord,
    model: Predictor | None = None,
    *,
    init: Tensor | None = None,
    mask: Tensor | None = None,
    start: Tensor | None = None,
    batch_size: int | None = None,
) -> Run:
    """The :class:`Run` that ``record`` is of; see :func:`repeat`."""
    if record.restoration is not None:
        raise UserError(
            "This is the record of a restoration, whose measurement it does not hold; give it to"
            " diffdescent.restore, or give its command again."
        )
    if record.text_to_image is not None or record.grid is None:
        raise UserError(
            "This is the record of a text to image run; give its command again, which it keeps as"
            f" {' '.join(record.command or ())!r}."
        )
    net = as_model(model) if model is not None else _load(record)
    found = ProcessRecord.of(net.process)
    if record.process != found:
        kind = record.process.kind if record.process else "none"
        raise UserError(
            f"The model has another process ({found.kind}) than the record's ({kind}); give the"
            " model of the record."
        )
    contents = make_recipe(record.recipe, 0).contents
    for name in record.files:
        if contents.get(name) != record.files[name]:
            raise UserError(
                f"{record.recipe} has changed since the run: {name} holds something else now; give"
                " back the file that the run had."
            )
    channels = (record.shape or (3,))[0]
    labels = record.labels if isinstance(record.labels, (int, type(None))) else [*record.labels]
    first, region = record.init, record.mask
    together = max(map(len, record.batches)) if record.batches else batch_size or 64
    run = prepare(
        net,
        record.recipe,
        guidance=record.guidance,
        grid=record.grid.grid(net.process),
        samples=record.samples,
        seed=record.seed,
        labels=labels if record.label is None else record.label,
        shape=record.shape,
        start=_given("start", record.start, start, None),
        init=_given("init", first, init, lambda path: read_init(path, channels)),
        by="place" if first is None else first.by,
        strength=1.0 if record.strength is None else record.strength,
        mask=_given("mask", region, mask, read_mask),
        blend=record.blend or "after",
        noise=record.noise,
        batch_size=together,
        micro_batch=record.micro_batch,
        device=record.device,
        dtype=_dtype(record.dtype),
        name=record.model,
        paths=(first.path if first else None, region.path if region else None),
    )
    _require_same(record, run)
    return replace(run, reason=record.reason)


def _load(record: RunRecord) -> Predictor:
    try:
        return load_model(record.model, record.device)
    except UserError as error:
        raise UserError(
            f"The model of the record, {record.model!r}, cannot be loaded; give it with model=."
            f" ({error})"
        ) from None


def _given(
    what: str,
    entry: ImagesRecord | None,
    value: Tensor | None,
    read: Callable[[Path], Tensor] | None,
) -> Tensor | None:
    """The images that the record speaks of: those given, else those of its file."""
    if entry is None and value is not None:
        raise UserError(f"The run of this record had no {what}; leave {what}= out.")
    if entry is None or value is not None:
        return value
    if entry.path is None or read is None:
        raise UserError(f"The record does not say where its {what} came from; give {what}=.")
    return read(Path(entry.path))


def _require_same(record: RunRecord, run: Run) -> None:
    """Raise :class:`UserError` where model or images are not those of the record."""
    now = run.record()
    if now.fingerprint != record.fingerprint:
        raise UserError(
            f"The model has another fingerprint ({now.fingerprint}) than the record's"
            f" ({record.fingerprint}); give the model of the record."
        )
    if now.fingerprint is None:
        warnings.warn(
            "The record has no fingerprint of the model, so its weights were not compared; give"
            " fingerprint= to dd.Network, and other weights are refused.",
            stacklevel=4,  # whoever called repeat
        )
    for what in ("start", "init", "mask"):
        if getattr(now, what) != getattr(record, what):
            raise UserError(
                f"The images of {what} are not those of the record; give the ones that the run had."
            )


def _dtype(name: str) -> torch.dtype:
    known = {"float32": torch.float32, "float64": torch.float64}
    if name not in known:
        raise unknown("dtype", name, known)
    return known[name]


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """This many threads of the CPU, and then as many as before; None changes nothing."""
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
