"""The numbers and images that a run is given, held to what they may be before anything is made."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Annotated, Any

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.limits import In
from diffdescent.core.noise import SAMPLE, SEED
from diffdescent.core.options import check_option

from .micro_batch import WIDTH
from .sample_numbers import MOST_SAMPLES

_LIMITS: dict[str, Any] = {
    "steps": Annotated[int, In(1, 1_000_000)],
    "seed": SEED,
    "strength": Annotated[
        float, In(0, 1, "(]", hint="1 starts from pure noise, 0.6 keeps the layout")
    ],
    "batch_size": Annotated[int, In(1)],
    "micro_batch": WIDTH | None,
}


def check_numbers(
    steps: int, seed: int, strength: float, batch_size: int, micro_batch: int | None
) -> None:
    """Raise :class:`UserError` for the first of them that is not finite, whole or in its range."""
    given = (steps, seed, strength, batch_size, micro_batch)
    for (name, hint), value in zip(_LIMITS.items(), given, strict=True):
        check_option("sample", name, value, hint)


def sample_numbers(n: int | None) -> tuple[int, ...]:
    """The first ``n`` sample numbers. Raises :class:`UserError` for more than a run can have."""
    count = check_option(
        "sample", "n", 0 if n is None else n, Annotated[int, In(high=MOST_SAMPLES)]
    )
    return tuple(range(count))


def chosen_numbers(samples: Iterable[int]) -> tuple[int, ...]:
    """Sample numbers that were asked for. Raises :class:`UserError` for what is none, and for more
    than a run can have."""
    first = list(islice(samples, MOST_SAMPLES + 1))
    if len(first) > MOST_SAMPLES:
        raise UserError(f"A run has at most {MOST_SAMPLES} samples; split it into several.")
    return tuple(check_option("sample", "samples", i, SAMPLE) for i in first)


def check_tensors(start: Tensor | None, init: Tensor | None, mask: Tensor | None) -> None:
    """Raise :class:`UserError` for images that are not finite numbers of the model's range, and for
    a mask outside [0, 1]."""
    for name, images in (("start", start), ("init", init), ("mask", mask)):
        if images is not None:
            check_images(name, images)
    if mask is not None and not bool(((mask >= 0) & (mask <= 1)).all()):
        raise UserError("A mask lies in [0, 1]: 1 where init is kept, 0 where it is drawn.")


def check_images(name: str, images: Tensor) -> None:
    """Raise :class:`UserError` unless these are finite floating-point numbers, or truth values of a
    mask."""
    if not isinstance(images, Tensor):
        raise UserError(f"{name} must be a tensor, not {type(images).__name__}.")
    if not images.is_floating_point() and not (name == "mask" and images.dtype == torch.bool):
        raise UserError(
            f"{name} holds {str(images.dtype).removeprefix('torch.')}; give floating-point"
            f" numbers, {'0 or 1' if name == 'mask' else 'images in [−1, 1]'}."
        )
    if images.layout != torch.strided or images.is_meta:
        raise UserError(f"{name} must be a plain tensor with its numbers: .to_dense().")
    if not bool(torch.isfinite(images).all()):
        raise UserError(f"{name} holds NaN or Inf.")
