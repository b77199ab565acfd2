"""Fitting a sampler of few evaluations to one model: teacher, opponent, levels, rows, decision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.base.version import __version__
from diffdescent.core.model_info import info
from diffdescent.core.noise import check_seed
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import parse
from diffdescent.core.spectrum import Bands, named_axes
from diffdescent.core.spectrum.fitted import FittedSolver
from diffdescent.run.inputs import resolve_labels
from diffdescent.run.micro_batch import micro_batch_width
from diffdescent.run.pieces import Pieces, model_identity
from diffdescent.run.prepared import resolve
from diffdescent.run.record import ProcessRecord

from .decide import decide, fitted_solver, mean_distance
from .fixed import as_rows, best_fixed
from .found import Calibration
from .local import Shape, fit_rows
from .refine import refine
from .search import search_levels
from .subject import Subject
from .teacher import TEACHER, teacher_error, trajectories

FEWEST, MOST = 3, 12
FIT_SAMPLES, CHOICE_SAMPLES, HELD_SAMPLES = 1_000_000, 1_500_000, 2_000_000
"""The first sample numbers of the fit, of the choice between two fits, and of the held-out noises:
far from those of ordinary runs."""
CHOICE = 16
"""Noises on which the end-to-end fit must be nearer than the local one to be taken."""

Note = Callable[[str], None]


def calibrate(
    model: Predictor | str,
    *,
    nfe: int = 5,
    guidance: str | None = None,
    labels: str | None = None,
    seed: int = 0,
    trajectories_count: int = 40,
    held_out: int = 32,
    teacher_levels: int = 64,
    bands: int = 8,
    axes: str = "usual",
    history: int | None = None,
    end_to_end: int | None = None,
    plain_start: bool = False,
    shape: tuple[int, ...] | None = None,
    micro_batch: int | None = None,
    device: torch.device | str | None = None,
    folder: Path | None = None,
    name: str | None = None,
    note: Note | None = None,
    progress: Callable[[int], None] | None = None,
) -> Calibration:
    """Fit a sampler of ``nfe`` evaluations to ``model``; no gradient of the model is needed.

    The result is never worse than the best fixed sampler: that is what it holds unless the paired
    95 % interval on held-out noises says that the fit is nearer to the teacher.

    Args:
        model: a :class:`Predictor`, a bundled name, a checkpoint folder or ``images:PATH``.
        nfe: network evaluations of the sampler, 3 to 12.
        guidance: a guidance text that is a part of the estimate, such as ``cfg(scale=4)``.
        labels: labels of the samples in turn, as a text; None goes round over all classes that the
            model names, ``"none"`` gives none.
        seed: of the noises. Their sample numbers begin at 1,000,000 (the fit) and 2,000,000 (the
            held-out ones).
        trajectories_count: how many noises are fitted to.
        held_out: how many other noises the fit is judged on.
        teacher_levels: evaluations of the teacher that is to be reached.
        bands: knots of the coefficients over the radial frequency.
        axes: channel axes, by name: usual, opponent or identity.
        history: how many evaluations a row sees; None: all.
        end_to_end: rounds in which all rows are fitted together after the step-by-step fit; None: 2
            up to 4 evaluations, where it is cheap, and 0 above. What it finds is taken if it is
            nearer to the teacher on noises of its own.
        plain_start: start from the library's own noise, not from noise that is scaled frequency by
            frequency: for diffusers pipelines, which make it themselves.
        shape: one sample's (C, H, W); None asks the model.
        micro_batch: how many samples the network sees at once; None is the run's own choice.
        device: where to run; None asks the model, else the CPU.
        folder: where trajectories are kept, so that an interrupted call goes on.
        name: what the solver is called in records; None is the model's name.
        note: called with a line when a stage ends.
        progress: called with the number of evaluations that were spent.

    Returns:
        A :class:`Calibration`: ``.solver`` to sample with, ``.summary`` for people,
        ``.write(path)``.

    Raises:
        UserError: other numbers of evaluations, too few trajectories, a model whose answers are not
            deterministic, and guidance that is not a part of the estimate.
    """
    _check(nfe, trajectories_count, held_out, teacher_levels)
    check_seed(seed)
    say: Note = note or (lambda line: None)
    net = resolve(model)
    called = model if isinstance(model, str) else info(net).name
    described = _described(net, called, guidance, labels)
    if guidance is not None:
        net = _guided(net, guidance)
    subject = _subject(net, labels, shape, micro_batch, device, progress)
    subject.check()
    channel_axes = named_axes(axes, subject.shape[0])
    bands_of = Bands.for_size(min(subject.shape[-2:]), bands)
    if end_to_end is not None and not 0 <= end_to_end <= 100:
        raise UserError(f"end_to_end must be 0 to 100 rounds, not {end_to_end}.")
    described["shape"] = list(subject.shape)
    if subject.label(range(1)) is None:
        described["labels"] = "none"
    pieces = Pieces(folder, {"calibrate": 1, **described, "identity": model_identity(net)})
    fit_range = range(FIT_SAMPLES, FIT_SAMPLES + trajectories_count)
    held_range = range(HELD_SAMPLES, HELD_SAMPLES + held_out)
    with torch.no_grad():
        data, held = (
            trajectories(subject, some, seed=seed, levels=teacher_levels, keep=keep, pieces=pieces)
            for some, keep in ((fit_range, True), (held_range, False))
        )
        error = teacher_error(subject, held, held_range[:4], seed=seed, levels=teacher_levels)
        say(f"{len(data)} + {len(held)} trajectories of {teacher_levels} levels, error {error:.2g}")
        rival = best_fixed(subject, data, nfe, say)
        form = Shape(
            channel_axes,
            bands_of,
            history,
            plain_start=plain_start,
        )
        asked = [row.at.ratio for row in rival.plan.rows]
        places = search_levels(subject, data.first(24), nfe, form, [asked], say)
        fit, method = fit_rows(subject, data, places, form), "local least squares on the own path"
        rounds = (2 if nfe <= 4 else 0) if end_to_end is None else end_to_end
        if rounds:
            some = range(CHOICE_SAMPLES, CHOICE_SAMPLES + CHOICE)
            choice = trajectories(
                subject, some, seed=seed, levels=teacher_levels, keep=False, pieces=pieces
            )
            other = refine(subject, data, fit, form, say, rounds)
            apart = [mean_distance(subject, choice, one, form) for one in (other, fit)]
            if apart[0] < apart[1]:
                fit, method = other, f"{method}, then {rounds} rounds end to end"
        report, fixed, numbers = decide(subject, held, fit, form, rival)
    report |= {
        "samples": [held_range.start, held_range.stop],
        "seed": seed,
        "teacher_error": float(f"{error:.4g}"),
    }
    how = {
        "method": "fixed" if fixed else method,
        "teacher": f"{TEACHER} on {teacher_levels} levels",
        "trajectories": len(data),
        "samples": [fit_range.start, fit_range.stop],
        "seed": seed,
        "ridge": form.ridge,
        "opponent": {"recipe": rival.recipe, "grid": rival.grid},
        "evaluations": subject.calls,
    }
    title = name or f"{Path(called).name}-n{nfe}"
    if fixed:
        plain = as_rows(rival.plan, subject.shape[0])
        solver = FittedSolver(
            title, plain.levels, plain.end, plain.axes, plain.bands, plain.start, plain.rows,
            described, how, report, __version__,
        )  # fmt: skip
    else:
        solver = fitted_solver(title, fit, form, described, how, report)
    return Calibration(solver, fixed, *numbers, rival, subject.calls)


def _check(nfe: int, count: int, held_out: int, levels: int) -> None:
    if not FEWEST <= nfe <= MOST:
        raise UserError(
            f"A calibrated sampler has {FEWEST} to {MOST} evaluations, not {nfe}; with more a fixed"
            " sampler is as good, with fewer no sampler is."
        )
    if count < max(8, 2 * nfe) or held_out < 8:
        raise UserError(
            f"{count} trajectories and {held_out} held-out ones are too few for {nfe} evaluations;"
            f" give at least {max(8, 2 * nfe)} and 8."
        )
    if levels < 4 * nfe:
        raise UserError(
            f"A teacher of {levels} levels is too coarse for {nfe} evaluations; give at least"
            f" {4 * nfe}."
        )


def _described(
    net: Predictor, called: str, guidance: str | None, labels: str | None
) -> dict[str, Any]:
    """What the sampler is fitted for."""
    process = ProcessRecord.of(net.process)
    return {
        "model": called,
        "fingerprint": info(net).fingerprint,
        "process": {"kind": process.kind, "sha256": process.sha256},
        "guidance": None if guidance is None else _settled(guidance, net),
        "labels": labels or "all in turn",
    }


def _settled(guidance: str, net: Predictor) -> str:
    """The guidance's text with what it leaves open filled in."""
    from diffdescent.guidance import parse_guidance

    return str(parse_guidance(guidance).settled(parse("ddim"), net.process))


def _guided(net: Predictor, guidance: str) -> Predictor:
    """The model under guidance.

    Raises:
        UserError: one that brings transforms along.
    """
    from diffdescent.guidance import apply_guidance

    guided, recipe = apply_guidance(guidance, net, parse("ddim"))
    if recipe.transforms:
        raise UserError(
            f"The guidance {guidance!r} acts on the sampler's steps too, which no fit can foresee;"
            " calibrate with cfg alone."
        )
    return guided


def _subject(
    net: Predictor,
    labels: str | None,
    shape: tuple[int, ...] | None,
    micro_batch: int | None,
    device: torch.device | str | None,
    progress: Callable[[int], None] | None,
) -> Subject:
    known = info(net)
    where = pick_device(device if device is not None else known.device)
    form = tuple(shape or net.shape or ())
    if not form:
        raise UserError(
            "The model does not say how large its images are; give shape=(channels, height, width)."
        )
    count = len(known.classes) if known.classes else (known.label_count or 0)

    def label(samples: range) -> Tensor | None:
        if labels == "none" or (labels is None and not count):
            return None
        found: Any = [i % count for i in samples] if labels is None else labels
        made = resolve_labels(found, samples, net)
        return None if made is None else made.to(where)

    width = micro_batch_width(net, where, micro_batch or (16 if known.width is None else None))
    return Subject(net, form, where, width, label, progress)
