"""Sampling: a model, a recipe, a grid, and noise that belongs to each sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError, unknown
from diffdescent.core import recipe as recipes
from diffdescent.core.executor import Executor, Query
from diffdescent.core.grid import Grid
from diffdescent.core.model_info import info
from diffdescent.core.noise import INITIAL, Brownian, Keyed, NoiseSource, normals
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Prediction, Predictor
from diffdescent.core.process import Point, Process
from diffdescent.core.recipe import Recipe
from diffdescent.core.transforms import Displacement
from diffdescent.core.transforms.inpaint import Inpaint

CPU_WIDTH, GPU_WIDTH = 4, 32
"""How many samples the network sees at once, unless asked otherwise. The last bits follow it: it is
in the record."""


@dataclass(frozen=True)
class Progress:
    """What a callback is given after each evaluation.

    ``x`` is the state that was evaluated (B, C, H, W), ``x0`` the model's clean estimate there (for
    previews), ``samples`` the indices of the batch; ``index`` of ``nfe`` evaluations, in batch
    ``batch`` of ``batches``.
    """

    index: int
    nfe: int
    step: int
    at: Point
    x: Tensor
    x0: Tensor
    samples: tuple[int, ...]
    batch: int
    batches: int


@dataclass(frozen=True)
class Result:
    """What :func:`sample` returns.

    ``images`` are (n, C, H, W) in the model's own range ([−1, 1] for image models), on the model's
    device. ``trajectory`` is x0 after every evaluation, (evaluations, n, C, H, W) on the CPU, when
    it was asked for. ``record`` holds what is needed to repeat the run, JSON-safe.
    """

    images: Tensor
    plan: Plan
    record: dict[str, Any] = field(default_factory=dict)
    trajectory: Tensor | None = None


Callback = Callable[[Progress], None]


def evaluate(model: Predictor, query: Query, cond: Tensor | None, width: int) -> Prediction:
    """One evaluation of the batch in micro-batches of exactly ``width`` samples, the last one
    padded.

    A convolution at width 1 and at width 14 differs in the last bits; at a fixed width an image is
    the same image in any batch. Padding repeats the last sample.
    """
    n = len(query.x)
    if n == width:
        return model(query.x, query.at, cond)
    found = []
    for begin in range(0, n, width):
        x = query.x[begin : begin + width]
        c = None if cond is None else cond[begin : begin + width]
        missing = width - len(x)
        if missing:
            x = torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])
            c = None if c is None else torch.cat([c, c[-1:].expand(missing, *c.shape[1:])])
        found.append(model(x, query.at, c))
    return Prediction.cat(found, n)


def resolve(model: Predictor | str) -> Predictor:
    """A model, or the model of a name or path (see :func:`diffdescent.load_model`)."""
    if not isinstance(model, str):
        return model
    from diffdescent.models import load_model

    return load_model(model)


def make_recipe(recipe: Recipe | str | None, steps: int) -> Recipe:
    """A recipe from text, or the preset for the step count."""
    if recipe is None:
        return recipes.default_recipe(steps)
    return recipes.parse(recipe) if isinstance(recipe, str) else recipe


def resolve_grid(grid: Grid | str | None, recipe: Recipe, process: Process, steps: int) -> Grid:
    """A grid from text, or the recipe's default one."""
    if isinstance(grid, Grid):
        return grid
    return recipes.parse_grid(grid or recipes.default_grid(recipe, process), process, steps)


def initial_state(noise: Tensor, grid: Grid, init: Tensor | None = None) -> Tensor:
    """The state at the grid's first level: α·init + σ·ε, and without an image the marginal of
    unit-variance data.

    Without ``init`` pure noise of standard deviation σ is right where α ≈ 0; where it is not (a
    start at σ̃ = 40 or 8) √(α² + σ²) is used, the size that a sample of unit variance has there.
    """
    first = grid.points[0]
    if init is None:
        return noise * grid.process.start_scale(first)
    return (init * first.alpha).add_(noise, alpha=first.sigma)


def from_level(grid: Grid, strength: float) -> Grid:
    """The part of a grid at or below the noise level that ``strength`` names: time t_min +
    strength·(t_max − t_min).

    1 keeps the whole grid. Raises :class:`UserError` unless 0 < strength ≤ 1 and a step is left.
    """
    if not 0 < strength <= 1:
        raise UserError(
            f"strength must lie in (0, 1], not {strength}; 1 starts from pure noise, 0.6 keeps the"
            " layout."
        )
    level = grid.process.t_min + strength * (grid.process.t_max - grid.process.t_min)
    start = next((i for i, t in enumerate(grid.t[:-1]) if t <= level + 1e-9), None)
    if start is None:
        raise UserError(
            f"strength={strength} starts at t = {level:.4g}, below every step of this grid "
            f"(the lowest is {grid.t[-2]:.4g}); raise the strength or take more steps."
        )
    return grid.tail(start)


def micro_batch_width(model: Predictor, device: torch.device, asked: int | None = None) -> int:
    """How many samples the network sees at once: asked for, the model's own ``width``, or the
    device's default."""
    return asked or info(model).width or (CPU_WIDTH if device.type == "cpu" else GPU_WIDTH)


def _batches(samples: Sequence[int], size: int) -> Iterator[tuple[int, ...]]:
    for begin in range(0, len(samples), size):
        yield tuple(samples[begin : begin + size])


NOISES: dict[str, type[Keyed] | type[Brownian]] = {"independent": Keyed, "brownian": Brownian}


def noise_source(kind: str, seed: int, samples: Sequence[int], device: torch.device) -> NoiseSource:
    """The noise of a batch. Raises :class:`UserError` for an unknown kind."""
    if kind not in NOISES:
        raise unknown("noise", kind, NOISES)
    return NOISES[kind](seed, torch.tensor(samples, dtype=torch.int64, device=device))


def _labels(
    value: Tensor | int | Sequence[int] | None, total: int, model: Predictor
) -> Tensor | None:
    """Labels as a tensor with one entry a sample, within those that the model knows."""
    known = info(model)
    needed, count = known.needs_label, known.label_count
    if value is None:
        if needed:
            raise UserError(
                f"This network needs a label for each sample (0 … {(count or 0) - 1}); give a"
                " label."
            )
        return None
    labels = torch.as_tensor(value)
    if labels.is_floating_point():
        raise UserError("Labels must be whole numbers, one for all samples or one for each.")
    if labels.ndim == 0:
        labels = labels.expand(total)
    if len(labels) != total:
        raise UserError(
            f"{len(labels)} labels were given for {total} samples; give one, or one for each"
            " sample."
        )
    lowest = 0 if needed else -1
    wrong = [] if count is None else [int(v) for v in labels if not lowest <= int(v) < count]
    if wrong:
        none = "" if needed else ", and −1 for none"
        raise UserError(
            f"The model has no label {wrong[0]}; its labels are 0 … {(count or 0) - 1}{none}."
        )
    return labels


def _image_like(value: Tensor, total: int, shape: Sequence[int], what: str) -> Tensor:
    """A tensor that broadcasts to (total, *shape)."""
    tensor = value if value.ndim == len(shape) + 1 else value[None]
    fits = tensor.ndim == len(shape) + 1 and all(
        a in (1, b) for a, b in zip(tensor.shape, (total, *shape), strict=True)
    )
    if not fits:
        raise UserError(
            f"{what} has shape {tuple(value.shape)}, which does not fit {total} samples of shape"
            f" {tuple(shape)}; expected {(total, *shape)} or something that broadcasts to it."
        )
    return tensor.expand(total, *shape)


def _shape(
    asked: Sequence[int] | None,
    known: Sequence[int] | None,
    init: Tensor | None,
    start: Tensor | None,
) -> tuple[int, ...]:
    """The shape of one sample: asked for, the model's own, or that of the images given."""
    if asked or known:
        return tuple(asked or known or ())
    for image in (init, start):
        if image is not None:
            return tuple(image.shape[-3:])
    raise UserError(
        "The model does not say how large its images are; give shape=(channels, height, width)."
    )


@dataclass(frozen=True)
class _Inputs:
    """Images that steer a run, one entry a sample."""

    start: Tensor | None = None
    init: Tensor | None = None
    mask: Tensor | None = None
    cond: Tensor | None = None

    def rows(self, where: slice, device: torch.device) -> _Inputs:
        values = (self.start, self.init, self.mask, self.cond)
        return _Inputs(*(None if v is None else v[where].to(device) for v in values))


def sample(
    model: Predictor | str,
    recipe: Recipe | str | None = None,
    *,
    steps: int = 20,
    grid: Grid | str | None = None,
    n: int | None = None,
    samples: Iterable[int] | None = None,
    seed: int = 0,
    labels: Tensor | int | Sequence[int] | None = None,
    shape: Sequence[int] | None = None,
    start: Tensor | None = None,
    init: Tensor | None = None,
    strength: float = 1.0,
    mask: Tensor | None = None,
    blend: Literal["before", "after"] = "after",
    noise: Literal["independent", "brownian"] = "independent",
    batch_size: int = 64,
    micro_batch: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    callback: Callback | None = None,
    trajectory: bool = False,
) -> Result:
    """Sample images from ``model``.

    Args:
        model: a :class:`Predictor`, a bundled name, a checkpoint folder or ``images:PATH``.
        recipe: a recipe or its text; None takes the preset for the step count (GE up to 7, UniPC
            above).
        steps: steps of the grid; what a step costs is the recipe's affair (``Result.plan.nfe``
            counts evaluations).
        grid: a grid or its text; None takes the recipe's usual one.
        n, samples: how many images, or exactly which ones (default: one for each of ``init`` or
            ``start``, else 1). Sample i of a seed is one image, whatever the batch.
        labels: a class for each sample, or one for all.
        start: the state at the grid's first level (B, C, H, W) in place of seeded noise, e.g. from
            :func:`invert`.
        init, strength: images in [−1, 1] to start from, noised to time t_min + strength·(t_max −
            t_min).
        mask: 1 where ``init`` is kept (inpainting); ``blend`` says whether momentum sees the blend.
            With a strength below 1 the rest starts from the noised ``init`` too, otherwise from
            noise.
        noise: independent for each step, or one Brownian path that runs of different step counts
            share.
        batch_size: samples in memory at a time; changes nothing in the images, unless the recipe
            looks at whole batches (``pxp(scope=batch)``).
        micro_batch: how many the network sees at once; part of what makes an image bit-identical.
        device: where to run; None asks the model (its ``device``), else the CPU.
        dtype: of the state and the update; float32 or float64.
        callback: called after each evaluation with a :class:`Progress`.
        trajectory: keep x0 of every evaluation.

    Raises :class:`UserError` for bad options, shapes that do not fit, and NaN or Inf from the
    model.
    """
    net = resolve(model)
    chosen = make_recipe(recipe, steps)
    if dtype not in (torch.float32, torch.float64):
        raise UserError(
            f"The update runs in float32 or float64, not {dtype}; the network may have any dtype."
        )
    if n is None and samples is None:
        n = max(
            len(images) if images is not None and images.ndim == 4 else 1
            for images in (init, start)
        )
    index = list(range(n or 0)) if samples is None else [int(i) for i in samples]
    if not index:
        raise UserError(
            "There is no sample to draw; give n of at least 1, or samples with at least one index."
        )
    if n is not None and samples is not None and n != len(index):
        raise UserError(
            f"n={n} and samples with {len(index)} indices disagree; give one of the two."
        )
    if batch_size < 1 or (micro_batch is not None and micro_batch < 1):
        raise UserError("batch_size and micro_batch must be at least 1.")
    where = pick_device(device if device is not None else info(net).device)
    form = _shape(shape, net.shape, init, start)
    full = resolve_grid(grid, chosen, net.process, steps)
    partial = init is not None and (mask is None or strength < 1)
    used = from_level(full, strength) if partial else full
    plan = chosen.plan(used)
    if mask is not None and init is None:
        raise UserError("A mask needs init=, the image whose region is kept.")
    if blend not in ("before", "after"):
        raise unknown("blend", blend, ("before", "after"))
    total = len(index)
    inputs = _Inputs(
        start=None if start is None else _image_like(start, total, form, "start"),
        init=None if init is None else _image_like(init, total, form, "init"),
        mask=None if mask is None else _image_like(mask, total, form, "mask"),
        cond=_labels(labels, total, net),
    )
    width = micro_batch_width(net, where, micro_batch)
    run = _Run(
        net,
        chosen,
        plan,
        form,
        inputs,
        seed,
        noise,
        blend,
        width,
        where,
        dtype,
        callback,
        trajectory,
        partial,
    )
    images, paths = [], []
    count = math.ceil(total / batch_size)
    with torch.no_grad():
        for b, batch in enumerate(_batches(index, batch_size)):
            image, path = run.batch(
                batch, slice(b * batch_size, b * batch_size + len(batch)), b, count
            )
            images.append(image)
            paths.append(path)
    record = _record(net, chosen, plan, index, seed, width, dtype, noise, where)
    return Result(torch.cat(images), plan, record, torch.cat(paths, dim=1) if trajectory else None)


@dataclass(frozen=True)
class _Run:
    """Everything that the batches of one call share."""

    model: Predictor
    recipe: Recipe
    plan: Plan
    shape: tuple[int, ...]
    inputs: _Inputs
    seed: int
    noise: str
    blend: str
    width: int
    device: torch.device
    dtype: torch.dtype
    callback: Callback | None
    trajectory: bool
    partial: bool
    """Whether the run starts from the noised ``init`` (not from noise alone)."""

    def batch(
        self, batch: tuple[int, ...], where: slice, number: int, count: int
    ) -> tuple[Tensor, Tensor]:
        source = noise_source(self.noise, self.seed, batch, self.device)
        given = self.inputs.rows(where, self.device)
        eps = source.initial(self.shape)
        if given.start is not None:
            x = given.start.to(self.dtype)
        else:
            x = initial_state(
                eps.to(self.dtype), self.plan.grid, given.init if self.partial else None
            )
        executor = Executor(
            self.plan,
            x,
            noise=source,
            estimates=self.recipe.estimates,
            displacements=self._displacements(given, eps),
            dtype=self.dtype,
        )
        kept: list[Tensor] = []
        while not executor.done:
            query = executor.ask()
            prediction = evaluate(self.model, query, given.cond, self.width)
            executor.tell(prediction)
            if self.callback is None and not self.trajectory:
                continue
            x0 = prediction.to("x0", query.x).to(self.dtype)
            if self.trajectory:
                kept.append(x0.cpu())
            if self.callback is not None:
                self.callback(
                    Progress(
                        query.index,
                        self.plan.nfe,
                        query.step,
                        query.at,
                        query.x,
                        x0,
                        batch,
                        number,
                        count,
                    )
                )
        executor.check(batch)
        return executor.x, torch.stack(kept) if kept else torch.empty(0)

    def _displacements(self, given: _Inputs, eps: Tensor) -> tuple[Displacement, ...]:
        chain = self.recipe.displacements
        if given.mask is None or given.init is None:
            return chain
        inpaint = Inpaint(given.mask, given.init, eps)
        return (inpaint, *chain) if self.blend == "before" else (*chain, inpaint)


def _record(
    model: Predictor,
    recipe: Recipe,
    plan: Plan,
    samples: list[int],
    seed: int,
    width: int,
    dtype: torch.dtype,
    noise: str,
    device: torch.device,
) -> dict[str, Any]:
    from diffdescent.base.version import __version__

    grid = plan.grid
    return {
        "model": info(model).name,
        "fingerprint": fingerprint(model),
        "recipe": str(recipe),
        "grid": {
            "name": grid.name,
            "t": grid.t.tolist(),
            "sigma_over_alpha": [_json(v) for v in grid.ratio.tolist()],
        },
        "notes": list(grid.notes),
        "nfe": plan.nfe,
        "seed": seed,
        "samples": samples if samples != list(range(len(samples))) else {"count": len(samples)},
        "noise": noise,
        "micro_batch": width,
        "dtype": str(dtype).removeprefix("torch."),
        "device": device.type,
        "versions": {"diffdescent": __version__, "torch": torch.__version__},
    }


def fingerprint(model: Predictor) -> str | None:
    """What identifies a model's numbers, where it knows: a hash of its weights or of its
    distribution."""
    return info(model).fingerprint


def _json(value: float) -> float | str:
    return value if math.isfinite(value) else "inf"


def invert(
    model: Predictor | str,
    images: Tensor,
    recipe: Recipe | str = "ddim",
    *,
    steps: int = 50,
    grid: Grid | str | None = None,
    **options: Any,
) -> Result:
    """Deterministic inversion: the noise from which ``recipe`` leads to ``images`` (B, C, H, W).

    The grid is run backwards from its lowest network level to its highest one. Sampling forwards
    again from ``result.images`` with ``start=`` and ``grid=result.plan.grid.reversed()`` gives the
    images back, up to the method's own error. Options are those of :func:`sample`. Raises
    :class:`UserError` for a stochastic recipe.
    """
    net = resolve(model)
    chosen = make_recipe(recipe, steps)
    used = resolve_grid(grid, chosen, net.process, steps)
    if used.sigma[-1] == 0:
        # The network was never asked at σ = 0; the lowest level it knows takes the place of the
        # end.
        used = _ending_at_first(used)
    backwards = used.reversed()
    if chosen.plan(used).stochastic:
        raise UserError(
            f"{chosen} is stochastic and cannot be inverted; use a deterministic sampler such as"
            " ddim."
        )
    x = images * float(backwards.alpha[0])
    return sample(net, chosen, grid=backwards, start=x, n=len(images), **options)


def _ending_at_first(grid: Grid) -> Grid:
    first = grid.process.point(grid.process.t_min)
    last = grid.steps if grid.ratio[-2] > first.ratio * (1 + 1e-9) else grid.steps - 1
    pairs = zip((grid.t, grid.alpha, grid.sigma), first, strict=True)
    t, alpha, sigma = (np.append(column[:last], value) for column, value in pairs)
    return Grid(grid.process, t, alpha, sigma, grid.name, grid.notes)


def noise_for(seed: int, samples: Sequence[int], shape: Sequence[int]) -> Tensor:
    """The initial unit noise of given samples, (len(samples), *shape): what :func:`sample` starts
    from."""
    return normals(seed, torch.tensor(list(samples), dtype=torch.int64), shape, INITIAL)
