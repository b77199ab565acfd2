"""What a guide is: a gradient in an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.process import Point


class Guide(Protocol):
    """A gradient: (image, point, labels) ↦ ∇ log p(y | image), of the image's shape, in float32 or
    better.

    ``point`` is the image's noise level, with σ = 0 for an estimate of x0. A guide may say what its
    labels mean by attributes ``label_count`` and ``classes``, and which weights it has by
    ``fingerprint``. One that knows something of each sample has ``for_places(places)``: the guide
    of the samples at these places of the run, in their order.
    """

    def __call__(self, x: Tensor, point: Point, labels: Tensor | None) -> Tensor: ...


def for_places(guide: Guide, places: Sequence[int]) -> Guide:
    """The guide of the samples at ``places`` of a run: itself, unless it knows something of
    each."""
    own: Callable[[Sequence[int]], Guide] | None = getattr(guide, "for_places", None)
    return guide if own is None else own(places)


def gradient_of(
    value: Callable[[Tensor], Tensor], x: Tensor, dtype: torch.dtype | None, what: str
) -> Tensor:
    """∇_x Σ_i value(x)_i in float32 or better, x handed over in ``dtype`` (None: its own), the
    graph freed at once.

    Each sample's value depends on its own x alone, so that the sum's gradient is every sample's
    own. ``what`` is what the message calls the function.

    Raises:
        UserError: values that are not one number a sample, and ones that x has no part in.
    """
    with torch.enable_grad():
        leaf = x.detach().to(dtype or x.dtype).requires_grad_()
        values: object = value(leaf)
        if not isinstance(values, Tensor):
            found = (
                "None (is a return missing?)" if values is None else f"a {type(values).__name__}"
            )
            raise UserError(
                f"{what} must give one number a sample, a tensor of shape ({len(x)},), not {found}."
            )
        if values.shape != x.shape[:1]:
            raise UserError(
                f"{what} must give one number a sample, shape ({len(x)},), not"
                f" {tuple(values.shape)}."
            )
        gradient = (
            torch.autograd.grad(values.sum(), leaf, allow_unused=True)[0]
            if values.requires_grad
            else None
        )
    if gradient is None:
        raise UserError(
            f"{what} has no gradient: its output does not depend on x; let it compute without"
            " no_grad, detach or integers."
        )
    return gradient.to(torch.promote_types(gradient.dtype, torch.float32))


def check_gradient(found: object, x: Tensor) -> Tensor:
    """What a guide gave for the image ``x``.

    Raises:
        UserError: unless it is of the image's shape and in float32 or better.
    """
    if isinstance(found, Tensor) and found.shape == x.shape:
        if found.dtype in (torch.float32, torch.float64):
            return found
        what = f"one in {str(found.dtype).removeprefix('torch.')}"
    elif isinstance(found, Tensor):
        what = f"a tensor of shape {tuple(found.shape)}"
    else:
        what = "None" if found is None else f"a {type(found).__name__}"
    raise UserError(
        f"The guide must give a gradient of the image's shape {tuple(x.shape)} in float32 or"
        f" float64, not {what}; an energy, one number a sample, is Energy(…), and .float() widens a"
        " gradient."
    )
