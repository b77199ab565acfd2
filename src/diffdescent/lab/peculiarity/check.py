"""Checks of the counter and of a model of figures: reading errors, and whether the model has
memorised.

Everything is made in blocks that are kept as they come, so that a check that was stopped goes on
where it was, and a larger one takes over what a smaller one has made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from diffdescent.base.errors import UserError
from diffdescent.base.images import to_uint8
from diffdescent.base.statistics import Share, wilson
from diffdescent.core.predict import Predictor
from diffdescent.run import sample
from diffdescent.run.pieces import Arrays, Pieces, model_identity

from .counter import Readings, count_limbs, wrong
from .figures import Figure, draw, make_figures, render
from .minima import come_back, nearest_distance
from .points import UNIFORM
from .species import SPECIES, Species, with_counts
from .study import asked, precision
from .thresholds import thresholds

HELD_OUT, OTHERS = 1, 2
"""Seeds of the renders that a model trained on seed 0 has not seen, and of the figures with other
counts."""
STRENGTHS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4)
"""Times that held-out renders are noised to and denoised from, shares of the process; 0 is the
renders themselves."""
BLOCK = 50
"""Figures of a kept piece."""
OTHER_COUNTS: dict[str, Species] = {
    "person, 1 leg": with_counts("person", legs=1),
    "person, 3 legs": with_counts("person", legs=3),
    "person, 1 arm": with_counts("person", arms=1),
    "person, 3 arms": with_counts("person", arms=3),
    "person, no head": with_counts("person", heads=0),
    "person, 2 heads": with_counts("person", heads=2),
    "horse, 3 legs": with_counts("horse", legs=3),
    "horse, 5 legs": with_counts("horse", legs=5),
    "hand, 4 fingers": with_counts("hand", fingers=4),
    "hand, 6 fingers": with_counts("hand", fingers=6),
}
"""Figures of no species, which the counter should find peculiar."""


@dataclass(frozen=True)
class Reading:
    """How a set of figures of known counts is read: wrongly (unreadable ones included), as
    peculiar, as unreadable."""

    name: str
    wrong: Share
    peculiar: Share
    unreadable: Share


def check_strength(strength: float) -> None:
    """Raise :class:`UserError` unless the strength is in [0, 1]."""
    if not 0 <= strength <= 1:
        raise UserError(
            f"A strength of {strength} is outside [0, 1]; it is the share of the process that is"
            " noised to."
        )


def check_counter(
    model: Predictor | None,
    strength: float,
    n: int = 400,
    *,
    pieces: Pieces | None = None,
    bf16: bool = False,
) -> Reading:
    """The counter on the first n held-out renders, noised to ``strength`` and denoised by
    ``model``.

    DDIM, about 20 steps from there. With 400 figures and no error at most 0.95 % are read wrongly
    (95 %, Wilson).

    Args:
        model: may be None where the strength is 0, which reads the renders as they are.
        strength: the time that figures are noised to, a share of the process from 0 to 1.
        n: how many figures.
        pieces: where blocks are kept; see :func:`count_pieces` for how many there are.
        bf16: evaluate the network under bfloat16 autocast.

    Raises:
        UserError: no figure is asked for, a strength outside [0, 1], or one above 0 without a
            model.
    """
    count_pieces(n)
    check_strength(strength)
    if strength and model is None:
        raise UserError(f"Figures noised to {strength:.0%} need a model to denoise them.")
    settings: dict[str, Any] = {"seed": HELD_OUT, "strength": strength}
    if strength and model is not None:
        settings |= {"model": model_identity(model), "bf16": bf16}

    def make(start: int, size: int) -> Arrays:
        pages, figures = make_figures(size, HELD_OUT, start)
        images: Any = pages
        if strength and model is not None:
            x = torch.from_numpy(pages)[:, None].float().div(127.5).sub(1)
            names = list(SPECIES)
            kinds = np.array([names.index(f.species.kind) for f in figures])
            labels = None if asked(model, range(1)) is None else torch.from_numpy(kinds)
            with precision(model, bf16):
                images = come_back(model, x, strength, labels, seed=HELD_OUT, first=start)
        return _answers(count_limbs(images), figures)

    return _reading(
        f"{strength:.0%} of the time" if strength else "held-out renders",
        "read",
        settings,
        n,
        make,
        pieces,
    )


def check_others(name: str, n: int = 300, *, pieces: Pieces | None = None) -> Reading:
    """The counter on n figures with other counts, one of :data:`OTHER_COUNTS`: all of them should
    be peculiar."""
    count_pieces(n)
    kind = OTHER_COUNTS[name]

    def make(start: int, size: int) -> Arrays:
        figures = [_drawable(index, kind) for index in range(start, start + size)]
        return _answers(count_limbs(render(figures)), figures)

    return _reading(name, "others", {"seed": OTHERS, "counts": list(kind.counts)}, n, make, pieces)


def _drawable(index: int, kind: Species, tries: int = 100) -> Figure:
    """Figure ``index``; where its pose leaves no room for that many limbs, the next of its own
    series that has it."""
    for attempt in range(tries):
        with contextlib.suppress(UserError):
            return draw(OTHERS, index + attempt * 1_000_000, [kind])
    raise UserError(f"No {kind.kind} with counts {kind.counts} could be drawn in {tries} poses.")


def _answers(readings: Readings, figures: Sequence[Figure]) -> Arrays:
    truth = [f.species.counts for f in figures]
    return {
        "wrong": wrong(readings, truth),
        "peculiar": readings.peculiar,
        "unreadable": ~readings.readable,
    }


Make = Callable[[int, int], Arrays]  # from the first figure and the number of them


def _reading(
    name: str, kind: str, settings: dict[str, Any], n: int, make: Make, pieces: Pieces | None
) -> Reading:
    found = _kept(kind, {**settings, "counter": thresholds()}, n, make, pieces)
    shares = (
        wilson(sum(int(f[key].sum()) for f in found), n)
        for key in ("wrong", "peculiar", "unreadable")
    )
    return Reading(name, *shares)


def _kept(
    kind: str, settings: dict[str, Any], n: int, make: Make, pieces: Pieces | None
) -> list[Arrays]:
    keep = pieces or Pieces(None)
    blocks = [(start, min(BLOCK, n - start)) for start in range(0, n, BLOCK)]
    return [
        keep.get(kind, {**settings, "start": a, "size": size}, partial(make, a, size))
        for a, size in blocks
    ]


def count_pieces(n: int) -> int:
    """How many pieces a check of n figures asks for.

    Raises:
        UserError: n is below 1.
    """
    if n < 1:
        raise UserError(f"There is nothing to check with n={n}; ask for at least 1.")
    return -(-n // BLOCK)


@dataclass(frozen=True)
class Memory:
    """Distances to the nearest training image, of held-out renders and of samples.

    ``held_out`` and ``samples`` are their quantiles at 1, 10, 50 and 90 %. ``near`` is the share of
    samples nearer than the 1 % quantile of held-out renders: about 1 % where samples are new
    figures, more where they are copies.
    """

    held_out: tuple[float, ...]
    samples: tuple[float, ...]
    near: Share


def check_memory(
    model: Predictor,
    training: npt.NDArray[np.uint8],
    n: int = 300,
    *,
    steps: int = 50,
    pieces: Pieces | None = None,
    bf16: bool = False,
) -> Memory:
    """Root mean square distance to the nearest of the training images (m, 32, 32) or its mirror
    image, in [−1, 1].

    Samples are DDIM's, n of them, one species after the other.

    Raises:
        UserError: the training images have another size than figures, or n is below 1.
    """
    count_pieces(n)
    pages, _ = make_figures(n, HELD_OUT)
    if training.shape[1:] != pages.shape[1:]:
        raise UserError(
            f"The training images are of shape {training.shape[1:]}, figures of {pages.shape[1:]}; "
            "give the file that `diffdescent peculiarity figures` wrote."
        )
    settings = {"model": model_identity(model), "bf16": bf16, "seed": HELD_OUT, "steps": steps}

    def make(start: int, size: int) -> Arrays:
        samples = range(start, start + size)
        labels = asked(model, samples)
        with precision(model, bf16):
            done = sample(
                model, "ddim", grid=UNIFORM, steps=steps, samples=samples, seed=HELD_OUT,
                labels=None if labels is None else labels.tolist(), micro_batch=BLOCK,
                progress=False,
            )  # fmt: skip
        return {"images": to_uint8(done.images)[:, 0].numpy()}

    made = _kept("samples", settings, n, make, pieces)
    real = nearest_distance(pages, training)
    copies = nearest_distance(np.concatenate([m["images"] for m in made]), training)
    at = (0.01, 0.1, 0.5, 0.9)
    limit = float(np.quantile(real, at[0]))
    return Memory(
        tuple(np.quantile(real, at).tolist()), tuple(np.quantile(copies, at).tolist()),
        wilson(int((copies < limit).sum()), n),
    )  # fmt: skip
