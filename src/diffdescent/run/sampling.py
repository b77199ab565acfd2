"""The loop: batches of a prepared run through the executor, and :func:`sample` around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from diffdescent.base.keywords import known_keywords
from diffdescent.core.calls import check_call
from diffdescent.core.executor import Executor
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import Recipe
from diffdescent.core.transforms import Displacement
from diffdescent.core.transforms.inpaint import Inpaint

from .budget import evaluations
from .display import displayed
from .inputs import Given, Labels
from .levels import AnyGrid, initial_state
from .micro_batch import evaluate
from .prepared import Blend, Places, Run, noise_source
from .preparing import prepare
from .progress import Callback, Progress
from .result import Result

Noise = Literal["independent", "brownian"]


@dataclass(frozen=True)
class Batch:
    """The images (B, C, H, W) of a batch's samples, and their ``trajectory`` if it was asked
    for."""

    places: Places
    samples: tuple[int, ...]
    images: Tensor
    trajectory: Tensor | None = None


def draw(
    run: Run,
    places: Sequence[int] | None = None,
    *,
    callback: Callback | None = None,
    trajectory: bool = False,
) -> Iterator[Batch]:
    """The batches of a run, each made when it is asked for; ``places`` for a part of its samples.

    Raises:
        UserError: NaN or Inf from the model.
    """
    batches = run.batches(places)
    for number, batch in enumerate(batches):
        yield _batch(run, batch, (number, len(batches)), callback, trajectory)


def collect(run: Run, *, callback: Callback | None = None, trajectory: bool = False) -> Result:
    """All images of a run in one :class:`Result`."""
    made = list(draw(run, callback=callback, trajectory=trajectory))
    paths = [batch.trajectory for batch in made if batch.trajectory is not None]
    return Result(
        torch.cat([batch.images for batch in made]),
        run.plan,
        run.record(),
        torch.cat(paths, dim=1) if paths else None,
        evaluations(run.model, run.plan),
    )


def watch(run: Run, places: Sequence[int] | None = None) -> Iterator[Progress | Batch]:
    """A run as it goes on: a :class:`Progress` after every evaluation, made when it is asked for,
    and each :class:`Batch` once it is finished; ``places`` for a part of its samples.

    Closing the iterator stops the run.

    Raises:
        UserError: NaN or Inf from the model.
    """
    batches = run.batches(places)
    for number, batch in enumerate(batches):
        yield from _steps(run, batch, (number, len(batches)), watched=True)


def _batch(
    run: Run,
    places: Places,
    number: tuple[int, int],
    callback: Callback | None,
    trajectory: bool,
) -> Batch:
    kept: list[Tensor] = []
    watched = callback is not None or trajectory
    for one in _steps(run, places, number, watched):
        if isinstance(one, Batch):
            return replace(one, trajectory=torch.stack(kept)) if kept else one
        if trajectory:
            kept.append(one.x0.cpu())
        if callback is not None:
            callback(one)
    raise AssertionError("a batch ends its steps")


@torch.no_grad()
def _steps(
    run: Run, places: Places, number: tuple[int, int], watched: bool
) -> Iterator[Progress | Batch]:
    """The evaluations of a batch, if they are ``watched``, and then the batch."""
    samples = tuple(run.samples[p] for p in places)
    source = noise_source(run.noise, run.seed, samples, run.device)
    given = run.inputs.at(places, run.device)
    eps = source.initial(run.shape)
    if given.start is not None:
        x = given.start.to(run.dtype)
    else:
        x = initial_state(eps.to(run.dtype), run.grid, given.init if run.noised else None)
    model, recipe = run.answering(places)
    executor = Executor(
        run.plan,
        x,
        noise=source,
        estimates=recipe.estimates,
        displacements=_displacements(run, recipe, given, eps),
        dtype=run.dtype,
    )
    while not executor.done:
        query = executor.ask()
        prediction = evaluate(model, query, given.cond, run.micro_batch, places)
        executor.tell(prediction)
        if watched:
            x0 = prediction.to("x0", query.x).to(run.dtype)
            yield Progress(
                query.index, run.plan.nfe, query.step, query.at, query.x, x0, samples, *number
            )
    executor.check(samples)
    yield Batch(places, samples, executor.x)


def _displacements(run: Run, recipe: Recipe, given: Given, eps: Tensor) -> tuple[Displacement, ...]:
    chain = recipe.displacements
    if given.mask is None or given.init is None:
        return chain
    inpaint = Inpaint(given.mask, given.init, eps)
    return (inpaint, *chain) if run.blend == "before" else (*chain, inpaint)


@known_keywords(
    {
        "nfe": "dd.sample counts steps of the grid, not evaluations: give steps=; what they cost is"
        " result.plan.nfe (a step of most samplers costs one evaluation, of heun two)."
    }
)
def sample(
    model: Predictor | str | Callable[..., Any],
    recipe: Recipe | str | None = None,
    *,
    guidance: str | None = None,
    steps: int = 20,
    grid: AnyGrid = None,
    n: int | None = None,
    samples: Iterable[int] | None = None,
    seed: int = 0,
    labels: Labels | None = None,
    shape: Sequence[int] | None = None,
    start: Tensor | None = None,
    init: Tensor | None = None,
    strength: float = 1.0,
    mask: Tensor | None = None,
    blend: Blend = "after",
    noise: Noise = "independent",
    batch_size: int = 64,
    micro_batch: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    callback: Callback | None = None,
    trajectory: bool = False,
    progress: bool | None = None,
    preview: bool = False,
) -> Result:
    """Sample images from ``model``.

    Args:
        model: a :class:`Predictor`, a bundled name, a checkpoint folder or ``images:PATH``; also a
            diffusers ``UNet2DModel``, or an unconditional pipeline with its scheduler.
        recipe: a recipe or its text; None takes the bundled sampler that was fitted to this model,
            guidance, shape and number of evaluations (:func:`diffdescent.run.chosen.choose`), and
            where there is none the preset: GE up to 7 steps, UniPC above, under ``cfg`` UniPC on
            ``uniform(spacing=linspace, open=true)``. The record's ``reason`` says which and
            why.
        guidance: a guidance text, which is applied to model and recipe.
        steps: steps of the grid; what a step costs is the recipe's affair (``Result.plan.nfe``
            counts evaluations).
        grid: a grid, its text, or the times of its levels with the end among them ([999, 500, 0]);
            None takes the recipe's usual one.
        n: how many images; None: one for each of ``init`` or ``start``, else 1.
        samples: exactly which sample numbers, in place of ``n``. Sample i of a seed is one image,
            whatever the batch.
        seed: of all noise; what is drawn is keyed by (seed, sample, step).
        labels: a class for each sample, or one for all; a text names classes by name or number
            (``cycle``: all of them; ``none``), and goes round over the sample numbers.
        shape: one sample's (C, H, W); None asks the model.
        start: the state at the grid's first level (B, C, H, W) in place of seeded noise, e.g. from
            :func:`invert`.
        init: images (B, C, H, W) in [−1, 1] to start from, noised to the time that ``strength``
            says.
        strength: the start is at t_min + strength·(t_max − t_min); 1 is pure noise.
        mask: 1 where ``init`` is kept (inpainting); ``blend`` says whether momentum sees the blend.
            With a strength below 1 the rest starts from the noised ``init`` too, otherwise from
            noise.
        blend: whether momentum sees the blend with ``init`` ("before") or not ("after").
        noise: independent for each step, or one Brownian path that runs of different step counts
            share.
        batch_size: samples in memory at a time; changes nothing in the images, unless the recipe
            looks at whole batches (``pxp(scope=batch)``).
        micro_batch: how many the network sees at once; part of what makes an image bit-identical.
            None takes the model's or the device's usual number (4 on a CPU, 32 on a GPU), or n
            where that is less: one image costs one. The record says which it was.
        device: where to run; None asks the model (its ``device``), else the CPU.
        dtype: of the state and the update; float32 or float64.
        callback: called after each evaluation with a :class:`Progress`.
        trajectory: keep x0 of every evaluation.
        progress: show a progress bar; None shows one in a terminal and in a notebook, where Rich or
            tqdm is installed and the run takes longer than half a second.
        preview: also show x0 while it becomes clearer.

    Returns:
        A :class:`Result`: ``.images`` (n, C, H, W) on the model's device, ``.plan``, ``.record``,
        and ``.trajectory`` if asked for.

    Raises:
        UserError: bad options, shapes that do not fit, and NaN or Inf from the model.
    """
    check_call(sample, locals())
    run = prepare(
        model,
        recipe,
        guidance=guidance,
        steps=steps,
        grid=grid,
        n=n,
        samples=samples,
        seed=seed,
        labels=labels,
        shape=shape,
        start=start,
        init=init,
        strength=strength,
        mask=mask,
        blend=blend,
        noise=noise,
        batch_size=batch_size,
        micro_batch=micro_batch,
        device=device,
        dtype=dtype,
    )
    with displayed(progress, preview) as shown:
        return collect(run, callback=_both(callback, shown), trajectory=trajectory)


def _both(callback: Callback | None, shown: Callback | None) -> Callback | None:
    """The callback that calls both, those that there are."""
    if callback is None or shown is None:
        return callback or shown

    def step(at: Progress) -> None:
        shown(at)
        callback(at)

    return step
