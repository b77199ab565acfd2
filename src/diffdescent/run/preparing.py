"""Deciding a run: options, checked and settled, become a :class:`~.prepared.Run`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from diffdescent.base.device import pick_device
from diffdescent.base.errors import UserError, unknown
from diffdescent.core import recipe as recipes
from diffdescent.core.executor import require_guidable
from diffdescent.core.model_info import info
from diffdescent.core.predict import Predictor
from diffdescent.core.recipe import Recipe
from diffdescent.guidance.wrapper import terms_of
from diffdescent.models.adapt import as_model

from .arguments import check_numbers, check_tensors, chosen_numbers, sample_numbers
from .chosen import choose
from .fitted_for import require_fit, warn_of_steps
from .inputs import Inputs, Labels, image_like, image_shape, in_turn, labels_asked, resolve_labels
from .levels import AnyGrid, from_level, resolve_grid
from .micro_batch import micro_batch_width
from .prepared import NOISES, Blend, Run, Turn

STEPS = 20
"""Of the grid, unless asked otherwise."""


def make_recipe(recipe: Recipe | str | None, steps: int) -> Recipe:
    """A recipe from text, or the preset for the step count."""
    if recipe is None:
        return recipes.default_recipe(steps)
    return recipes.parse(recipe) if isinstance(recipe, str) else recipe


def prepare(
    model: Predictor | str | Callable[..., Any],
    recipe: Recipe | str | None = None,
    *,
    guidance: str | None = None,
    guided: tuple[Predictor, Recipe] | None = None,
    steps: int = STEPS,
    grid: AnyGrid = None,
    n: int | None = None,
    samples: Iterable[int] | None = None,
    seed: int = 0,
    labels: Labels | None = None,
    shape: Sequence[int] | None = None,
    start: Tensor | None = None,
    init: Tensor | None = None,
    by: Turn = "place",
    strength: float = 1.0,
    mask: Tensor | None = None,
    blend: Blend = "after",
    noise: str = "independent",
    batch_size: int = 64,
    micro_batch: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    name: str | None = None,
    paths: tuple[str | None, str | None] = (None, None),
) -> Run:
    """Decide everything of a run; nothing is evaluated.

    Args beyond those of :func:`diffdescent.sample`:
        guided: model and recipe under the ``guidance``, where they have been made already.
        by: whether ``init`` has an image for each place, or goes round by sample number.
        name: what the record calls the model; None takes the text given, or the model's own name.
        paths: the files that ``init`` and ``mask`` were read from, for the record.

    Raises:
        UserError: bad options, and shapes that do not fit.
    """
    check_numbers(steps, seed, strength, batch_size, micro_batch)
    net = as_model(model, device)
    labels = labels_asked(labels, net)
    chosen, reason = make_recipe(recipe, steps), None
    plain, called = net, name or (model if isinstance(model, str) else info(net).name)
    form = image_shape(shape, net.shape, init, start)
    under = None
    if guidance is not None:
        from diffdescent.guidance import apply_guidance, parse_guidance

        under = str(parse_guidance(guidance).settled(chosen, net.process))
    if recipe is None:
        against = _against(grid, start, init)
        found = choose(net, steps, under, form, labels is not None, against)
        chosen, reason = found.recipe, found.reason
    asked = str(chosen)
    if guidance is not None:
        net, chosen = guided or apply_guidance(guidance, net, chosen)
    if dtype not in (torch.float32, torch.float64):
        raise UserError(
            f"The update runs in float32 or float64, not {dtype}; the network may have any dtype."
        )
    index = _samples(n, samples, (init, start))
    where = pick_device(device if device is not None else info(net).device)
    _check_choices(noise, blend, by, strength, init, mask)
    require_fit(chosen, plain, under, form, labels is not None)
    if steps != STEPS:
        warn_of_steps(chosen, steps, stacklevel=4)
    levels = resolve_grid(grid, chosen, net.process, steps)
    check_tensors(start, init, mask)
    noised = init is not None and (mask is None or strength < 1)
    plan = chosen.plan(from_level(levels, strength) if noised else levels)
    require_guidable(plan, terms_of(net))
    total = len(index)
    if init is None:
        first = None
    elif by == "sample":
        first = in_turn(init, index, form, "init", paths[0])
    else:
        first = image_like(init, total, form, "init", paths[0])
    inputs = Inputs(
        start=None if start is None else image_like(start, total, form, "start"),
        init=first,
        mask=None if mask is None else image_like(mask, total, form, "mask", paths[1]),
        labels=resolve_labels(labels, index, net),
    )
    return Run(
        model=net,
        name=called,
        recipe=chosen,
        asked=asked,
        guidance=under,
        plan=plan,
        shape=form,
        samples=index,
        seed=seed,
        noise=noise,
        inputs=inputs,
        label=labels if isinstance(labels, str) else None,
        strength=strength,
        noised=noised,
        reason=reason,
        by=by,
        blend=blend,
        batch_size=batch_size,
        micro_batch=micro_batch_width(net, where, micro_batch, total),
        device=where,
        dtype=dtype,
    )


def _samples(
    n: int | None, samples: Iterable[int] | None, images: Sequence[Tensor | None]
) -> tuple[int, ...]:
    """The sample numbers of a run: those asked for, else as many as there are images, else one."""
    if n is None and samples is None:
        n = max(len(one) if one is not None and one.ndim == 4 else 1 for one in images)
    index = sample_numbers(n) if samples is None else chosen_numbers(samples)
    if not index:
        raise UserError(
            "There is no sample to draw; give n of at least 1, or samples with at least one index."
        )
    if n is not None and samples is not None and n != len(index):
        raise UserError(
            f"n={n} and samples with {len(index)} indices disagree; give one of the two."
        )
    return index


def _against(grid: AnyGrid, start: Tensor | None, init: Tensor | None) -> str | None:
    """What keeps a sampler with levels of its own from being the default."""
    given = {
        "a grid is named": grid,
        "the start is given": start,
        "there are images to begin with": init,
    }
    return next((reason for reason, value in given.items() if value is not None), None)


def _check_choices(
    noise: str, blend: str, by: str, strength: float, init: Tensor | None, mask: Tensor | None
) -> None:
    """Raise :class:`UserError` for options that are not there, or that miss what they need."""
    if noise not in NOISES:
        raise unknown("noise", noise, NOISES)
    if mask is not None and init is None:
        raise UserError("A mask needs init=, the image whose region is kept.")
    if strength < 1 and init is None:
        raise UserError(
            f"strength={strength:g} says how much noise init= gets, and there is none; give init=,"
            " or leave strength out."
        )
    if blend not in get_args(Blend):
        raise unknown("blend", blend, get_args(Blend))
    if by not in get_args(Turn):
        raise unknown("turn", by, get_args(Turn))
