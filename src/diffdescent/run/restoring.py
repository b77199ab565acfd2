"""Images restored from measurements: :func:`restore`, and the prepared run beneath it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import Tensor

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError
from diffdescent.base.keywords import hands_on, known_keywords
from diffdescent.base.words import shown
from diffdescent.core import recipe as recipes
from diffdescent.core.calls import check_call
from diffdescent.core.grid import Grid
from diffdescent.core.limits import MOST
from diffdescent.core.model_info import info
from diffdescent.core.operators import Bound, Function, Operator, parse_operator
from diffdescent.core.operators.function import Measure
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Predictor
from diffdescent.core.process import Process
from diffdescent.core.recipe import Recipe
from diffdescent.core.solvers.calibrated import Calibrated
from diffdescent.guidance.restoration import parse_method
from diffdescent.models.adapt import as_model

from .budget import evaluations, steps_for
from .inputs import Labels, image_like, label_tensor, labels_asked, labels_of_text
from .levels import resolve_grid
from .prepared import Run
from .preparing import prepare
from .problem import Problem, check_measured
from .progress import Callback
from .record import RunRecord
from .sample_numbers import MOST_SAMPLES
from .sampling import collect

if TYPE_CHECKING:
    from typing_extensions import Unpack

LEVELS = "karras(start=3, rho=2)"
"""The best of those tried on training images of CIFAR-10 and MNIST (docs/restore.md)."""
STRIDE = 1_000_000
"""Sample j of image k has the number k + j·STRIDE, the same however many samples there are."""


@dataclass(frozen=True)
class Restored:
    """What :func:`restore` returns.

    ``images`` are (k, n, C, H, W) in [−1, 1]: n samples for each of the k measurements. ``record``
    holds the settings.
    """

    images: Tensor
    plan: Plan
    record: RunRecord

    @property
    def mean(self) -> Tensor:
        """The mean of each image's samples, (k, C, H, W)."""
        return self.images.mean(1)

    @property
    def deviation(self) -> Tensor:
        """Their standard deviation, pixel by pixel; zeros for one sample."""
        if self.images.shape[1] < 2:
            return torch.zeros_like(self.images[:, 0])
        return self.images.std(1)


class RestoreOptions(TypedDict, total=False):
    """The keywords of :func:`restore` that say how; it describes them, and
    :func:`prepare_restoration` has their defaults."""

    noise: float
    method: str
    sampler: Recipe | str | None
    nfe: int
    grid: Grid | str | None
    n: int
    seed: int
    labels: Labels | None
    guidance: str | None
    batch_size: int
    micro_batch: int | None
    device: torch.device | str | None
    dtype: torch.dtype


def prepare_restoration(
    model: Predictor | str,
    y: Tensor,
    operator: Operator | Bound | Measure | str,
    *,
    noise: float = 0.0,
    method: str = "diffpir",
    sampler: Recipe | str | None = None,
    nfe: int = 20,
    grid: Grid | str | None = None,
    n: int = 1,
    numbers: Sequence[int] | None = None,
    seed: int = 0,
    labels: Labels | None = None,
    guidance: str | None = None,
    batch_size: int = 64,
    micro_batch: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    name: str | None = None,
) -> Run:
    """The :class:`Run` of :func:`restore`, whose place i·n + j is sample j of measurement i.

    ``numbers`` are those of the images (0, 1, … by default), which key their noise. Raises
    :class:`UserError` as :func:`restore` does.
    """
    net = as_model(model, device)
    if n < 1 or nfe < 1:
        raise UserError("n and nfe must be at least 1: samples for each image, and evaluations.")
    if nfe > MOST:
        raise UserError(f"nfe must be at most {MOST}, not {shown(nfe)}.")
    if not 0 <= noise < float("inf"):
        raise UserError(f"noise is σ_n ≥ 0, the measurement's standard deviation, not {noise}.")
    if net.shape is None and not isinstance(operator, Bound):
        raise UserError(
            "The model does not say how large its images are; bind the operator yourself,"
            " operator.bind((channels, height, width))."
        )
    where = pick_device(device if device is not None else info(net).device)
    bound, asked = bind(operator, tuple(net.shape or ()), seed, where, dtype)
    if net.shape is not None and tuple(net.shape) != bound.in_shape:
        raise UserError(
            f"The operator measures images of shape {bound.in_shape}, and the model's are"
            f" {tuple(net.shape)}."
        )
    given = y if y.ndim == len(bound.out_shape) + 1 else y[None]
    bound.check(given)
    check_measured(bound, given.to(where, dtype), noise)
    found = parse_method(method, sampler)
    found.method.check(bound, noise)
    _warn_if_fitted(found.recipe)
    levels = grid_for(net, found.recipe, grid, nfe, guidance)
    index = list(range(len(given)) if numbers is None else numbers)
    if n * len(index) > MOST_SAMPLES:
        raise UserError(f"A run has at most {MOST_SAMPLES} samples; give a smaller n.")
    run = prepare(
        net,
        found.recipe,
        guidance=guidance,
        grid=levels,
        samples=[k + j * STRIDE for k in index for j in range(n)],
        seed=seed,
        labels=_each(labels, n, index, net),
        shape=bound.in_shape,
        batch_size=batch_size,
        micro_batch=micro_batch,
        device=where,
        dtype=dtype,
        name=name,
    )
    rows = image_like(given.cpu(), len(given), bound.out_shape, "y")
    measured = replace(rows, rows=torch.arange(len(given)).repeat_interleave(n))
    problem = Problem(found.method, bound, asked, str(found), measured, float(noise))
    return replace(run, problem=problem)


@known_keywords(
    {"steps": "dd.restore counts network evaluations: give nfe=, and it takes the steps they pay."}
)
@hands_on(RestoreOptions, prepare_restoration)
def restore(
    model: Predictor | str,
    y: Tensor,
    operator: Operator | Bound | Measure | str,
    *,
    callback: Callback | None = None,
    **options: Unpack[RestoreOptions],
) -> Restored:
    """Images that fit measurements y = A(x) + noise, drawn from ``model``.

    Args:
        model: as in :func:`diffdescent.sample`; its images lie in [−1, 1].
        y: the measurements, (k, *out_shape), or one without the first dimension.
        operator: what measured, its text (``"blur(sigma=2)"``), one that is bound to the shape, or
            a differentiable torch function of images (B, C, H, W)
            (:class:`~diffdescent.core.operators.Function`).
        noise: σ_n, the standard deviation of the measurement's noise, in the units of y.
        method: one of ``diffdescent list``'s restoration methods, alone (with its own sampler) or
            in a chain: ``"unipc | diffpir | momentum(-0.3)"``.
        sampler: a recipe for a method that stands without one.
        nfe: network evaluations for each sample; the most steps that they pay for are taken.
        grid: a grid or its text; None takes ``karras(start=3, rho=2)`` for solvers in σ̃, else the
            recipe's usual one.
        n: samples for each measurement.
        seed: seed of the samples' noise, and of what is random in an operator's text.
        labels: a class for each measurement, or one for all.
        guidance: a guidance text, applied beneath the method.
        batch_size: samples in memory at a time; changes nothing in the images.
        micro_batch: how many samples the network sees at once; None is the run's own choice.
        device: where to run; None asks the model, else the CPU.
        dtype: of the state and the update; float32 or float64.
        callback: called after each evaluation with a :class:`Progress`.

    Returns:
        A :class:`Restored`: ``.images`` (k, n, C, H, W) in [−1, 1], their mean and deviation.

    Raises:
        UserError: sizes that do not fit, NaN in y, noise 0 where y cannot be measured without any,
            a method that the operator does not serve, and other bad options.
    """
    check_call(restore, {**locals(), **options})
    run = prepare_restoration(model, y, operator, **options)
    result = collect(run, callback=callback)
    assert run.problem is not None
    count = len(run.problem.y.values)
    return Restored(result.images.reshape(count, -1, *run.shape), result.plan, result.record)


def bind(
    operator: Operator | Bound | Measure | str,
    shape: Sequence[int],
    seed: int,
    device: torch.device,
    dtype: torch.dtype,
) -> tuple[Bound, str]:
    """The operator on images of ``shape``, and its text."""
    if isinstance(operator, Bound):
        if operator.dtype != dtype or operator.device.type != device.type:
            raise UserError(
                f"The operator computes in {operator.dtype} on {operator.device}, and the run in"
                f" {dtype} on {device}; bind it with these."
            )
        return operator, type(operator).__name__
    given = operator if isinstance(operator, str | Operator) else Function(operator)
    parsed = parse_operator(given)
    return parsed.bind(tuple(shape), seed=seed, device=device, dtype=dtype), str(parsed)


def grid_for(
    model: Predictor,
    recipe: Recipe,
    grid: Grid | str | None,
    nfe: int,
    guidance: str | None = None,
) -> Grid:
    """The grid of the most steps that ``nfe`` network evaluations pay for."""
    if isinstance(grid, Grid):
        return grid
    if guidance is not None:
        from diffdescent.guidance import apply_guidance

        model, _ = apply_guidance(guidance, model, recipe)
    written = grid or usual_grid(recipe, model.process)

    def cost(steps: int) -> int:
        levels = resolve_grid(written, recipe, model.process, steps)
        return evaluations(model, recipe.plan(levels))

    return resolve_grid(written, recipe, model.process, steps_for(cost, nfe))


def _warn_if_fitted(recipe: Recipe) -> None:
    if isinstance(recipe.solver, Calibrated):
        warnings.warn(
            f"{recipe.solver.file!r} was fitted to paths without a measurement: it may be worse"
            " than a fixed sampler here; compare it with ddim.",
            stacklevel=4,  # whoever called restore
        )


def usual_grid(recipe: Recipe, process: Process) -> str:
    """The grid when none is asked for: the recipe's usual one, but :data:`LEVELS` in place of
    uniform time, half of whose steps go to levels where a measurement says all there is to say."""
    usual = recipes.default_grid(recipe, process)
    return LEVELS if usual == "uniform(spacing=trailing)" else usual


def _each(labels: Labels | None, n: int, index: Sequence[int], model: Predictor) -> Labels | None:
    """The labels of the measurements as those of their samples."""
    labels = labels_asked(labels, model)
    if isinstance(labels, str):
        turn = labels_of_text(labels, model)
        labels = [turn[k % len(turn)] for k in index]
    if labels is None or isinstance(labels, int):
        return labels
    given = label_tensor(labels)
    return given if given.ndim == 0 else given.reshape(-1).repeat_interleave(n)
