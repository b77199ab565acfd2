"""Fitting a sampler of few evaluations to one model: teacher, opponent, levels, rows, decision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from diffdescent.base.keywords import known_keywords
from diffdescent.base.version import __version__
from diffdescent.core.calls import check_call
from diffdescent.core.model_info import info
from diffdescent.core.noise import check_seed
from diffdescent.core.options import In
from diffdescent.core.predict import Predictor
from diffdescent.core.spectrum import Axes, Bands, named_axes
from diffdescent.core.spectrum.axes import principal
from diffdescent.core.spectrum.fitted import FittedSolver
from diffdescent.models.adapt import as_model
from diffdescent.run.pieces import Pieces, model_identity

from .cost import Cost, Progress, expected
from .counts import FIT_SAMPLES, HELD_SAMPLES, ROUNDS, SEARCHED, check_counts, check_knots
from .decide import decide, fitted_solver
from .derivatives import columns_of
from .found import Calibration
from .loss import FeatureMap, Loss, loss_of
from .plain import as_rows
from .setting import described, guided, subject_of
from .shape import Prior, Shape
from .stages import Note, Work
from .subject import Subject
from .teacher import TEACHER

ChannelAxes = Literal["usual", "opponent", "principal", "identity"]
METHOD = "local least squares on the own path"


@known_keywords(
    {"steps": "dd.calibrate counts network evaluations, one for each step: give nfe= (3 to 12)."}
)
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
    axes: ChannelAxes = "usual",
    history: Annotated[int, In(1)] | None = None,
    prior: Prior = "equal",
    consistent: bool = False,
    loss: Loss | FeatureMap | str = "distance",
    search: bool = True,
    end_to_end: Annotated[int, In(0, 100)] | None = None,
    plain_start: bool = False,
    shape: tuple[int, ...] | None = None,
    micro_batch: Annotated[int, In(1)] | None = None,
    device: torch.device | str | None = None,
    folder: Path | None = None,
    name: str | None = None,
    note: Note | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Fit a sampler of ``nfe`` evaluations to ``model``; no gradient of the model is needed.

    The fit is kept only where the paired 95 % interval on held-out noises says that it is nearer to
    the teacher than the best fixed sampler; else the result holds that one.

    Args:
        model: a :class:`Predictor`, a bundled name, a checkpoint folder or ``images:PATH``.
        nfe: network evaluations of the sampler, 3 to 12.
        guidance: a guidance text that is a part of the estimate, such as ``cfg(scale=4)``, or
            ``cfg(scale=1..6)`` for all scales of a range.
        labels: labels of the samples in turn, as a text; None goes round over all classes that the
            model names, ``"none"`` gives none.
        seed: of the noises. Their sample numbers begin at 1,000,000 (the fit) and 2,000,000 (the
            held-out ones).
        trajectories_count: how many noises are fitted to.
        held_out: how many other noises the fit is judged on.
        teacher_levels: evaluations of the teacher that is to be reached.
        bands: knots of the coefficients over the radial frequency.
        axes: channel axes: ``opponent`` (RGB), ``principal`` (of the teacher's images),
            ``identity``, or ``usual``, the first for three channels and the second for more.
        history: how many evaluations a row sees; None: all.
        prior: what the ridge of the rows draws to: ``equal`` coefficients at all frequencies, the
            closed form for ``gaussian`` images of the teacher's spectrum, or the rows of the best
            ``fixed`` sampler.
        consistent: whether every row is exact for a constant ε (of order 1), which keeps a
            sampler sane elsewhere and costs distance.
        loss: what is made small: the ``distance`` of each image, ``squared``, ``huber``
            (pseudo-Huber), or a function that takes images (B, C, H, W) to features (B, …), whose
            distances then count. The local fit is by least squares of pixels in any case; levels,
            rounds end to end and the decision follow the loss.
        search: whether the levels are searched; else they are the best fixed sampler's.
        end_to_end: rounds in which levels and rows are fitted together after the step-by-step fit;
            None: 5, 4, 2, 2 for 3, 4, 5, 6 evaluations, and 0 above. The round that is nearest to
            the teacher on noises of its own is taken, or none.
        plain_start: start from the library's own noise, not from noise that is scaled frequency by
            frequency: for diffusers pipelines, which make it themselves.
        shape: one sample's (C, H, W); None asks the model.
        micro_batch: how many samples the network sees at once, at most; None is 24.
        device: where to run; None asks the model, else the CPU.
        folder: where trajectories are kept, so that an interrupted call goes on.
        name: what the solver is called in records; None is the model's name.
        note: called with a line when a stage ends.
        progress: called with the number of evaluations that were spent and the number expected in
            all, which is an estimate.

    Returns:
        A :class:`Calibration`: ``.summary`` for people, and ``.write(path)``, after which
        ``calibrated('PATH')`` is a recipe.

    Raises:
        UserError: other numbers of evaluations, too few trajectories, a model whose answers are not
            deterministic, guidance that is not a part of the estimate, and a model whose own
            solution does not settle, as under too strong guidance.
    """
    check_call(calibrate, locals())
    check_counts(nfe, trajectories_count, held_out, teacher_levels)
    check_seed(seed)
    aim = loss_of(loss)
    net = as_model(model, device)
    fed = str(getattr(net, "dtype", None))
    called = model if isinstance(model, str) else info(net).name
    about = described(net, called, guidance, labels)
    if guidance is not None:
        net = guided(net, guidance)
    subject = subject_of(net, labels, shape, micro_batch, device)
    subject.check()
    knots = Bands.for_size(min(subject.shape[-2:]), bands)
    if axes != "principal":
        named_axes(axes, subject.shape[0])  # a wrong name is an error at once
    about["shape"] = list(subject.shape)
    if subject.label(range(1)) is None:
        about["labels"] = "none"
    check_knots(knots, subject.shape)
    rounds = ROUNDS.get(nfe, 0) if end_to_end is None else end_to_end
    groups = subject.shape[0] if axes == "identity" else 2
    ahead = expected(
        nfe, trajectories_count, held_out, teacher_levels, searched=SEARCHED if search else 0,
        rounds=rounds, columns=columns_of(nfe, groups, bands),
    )  # fmt: skip
    cost = Cost(subject, ahead, progress)
    pieces = _pieces(folder, about, net, subject, fed)
    work = Work(subject, nfe, seed, teacher_levels, aim, pieces, cost, note or (lambda line: None))
    with torch.no_grad():
        data, held, error = work.teacher(trajectories_count, held_out)
        rival = work.opponent(data)
        work = replace(work, aim=aim.scaled(rival.distance))
        form = Shape(
            _axes(axes, data.end), knots, history, plain_start=plain_start, prior=prior,
            recipe=rival.recipe, consistent=consistent,
        )  # fmt: skip
        local = work.rows(data, work.places(data, form, rival, search), form)
        fit = work.together(data, local, form, rounds)
        method = METHOD if fit is local else f"{METHOD}, then up to {rounds} rounds end to end"
        report, fixed, numbers = decide(subject, held, fit, form, rival, work.aim)
        needed = None if fixed else work.as_near(data, held, fit, form, rival)
        cost.on("judging")
    report |= {
        "samples": [HELD_SAMPLES, HELD_SAMPLES + held_out],
        "seed": seed,
        "teacher_error": float(f"{error:.4g}"),
    }
    if needed is not None:
        images = -(-subject.calls // (needed - nfe))
        report["pays_off"] = {"fixed_evaluations": needed, "images": images}
    how = {
        "method": "fixed" if fixed else method,
        "teacher": f"{TEACHER} on {teacher_levels} levels",
        "trajectories": len(data),
        "samples": [FIT_SAMPLES, FIT_SAMPLES + trajectories_count],
        "seed": seed,
        "ridge": form.ridge,
        "prior": prior,
        "loss": work.aim.text,
        **({"consistent": True} if consistent else {}),
        **({"history": history} if history else {}),
        **({"plain_start": True} if plain_start else {}),
        **({} if search else {"levels": "the opponent's"}),
        "opponent": {"recipe": rival.recipe, "grid": rival.grid},
        "evaluations": subject.calls,
        "stages": cost.evaluations,
        "seconds": cost.seconds,
    }
    title = name or f"{Path(called).name}-n{nfe}"
    if fixed:
        plain = as_rows(rival.plan, subject.shape[0])
        solver = FittedSolver(
            title, plain.levels, plain.end, plain.axes, plain.bands, plain.start, plain.rows,
            about, how, report, __version__,
        )  # fmt: skip
    else:
        solver = fitted_solver(title, fit, form, about, how, report)
    return Calibration(solver, fixed, *numbers, rival, subject.calls)


def _pieces(
    folder: Path | None, about: dict[str, Any], net: Predictor, subject: Subject, fed: str
) -> Pieces:
    """The folder of what is kept; ``fed`` is the dtype of the network's input."""
    if folder is None:
        return Pieces(None)
    where = {"device": subject.device.type, "dtype": fed}
    return Pieces(folder, {"calibrate": 2, **about, "identity": model_identity(net), **where})


def _axes(name: str, images: Tensor) -> Axes:
    """The channel axes by name; ``principal`` are those of ``images``."""
    channels = images.shape[1]
    if name == "principal" or (name == "usual" and channels > 3):
        return principal(images)
    return named_axes(name, channels)
