"""Sets of images that measure the same: A(x) = y; and sets given by their projection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.operators import Bound, parse_operator

from .base import Constraint, ConstraintSet, Shape, register
from .whole import image_of


class MeasuredSet(ConstraintSet):
    """{x: A(x) = y} for an operator at its size and ``y`` (B, …), one for each sample, or (1, …)
    for all.

    Affine where A is linear; where no x has A x = y, those with the smallest ‖A x − y‖.

    Raises:
        UserError: a y that does not fit or holds NaN, and an operator without projection.
    """

    def __init__(self, operator: Bound, y: Tensor) -> None:
        operator.check(y)
        if not operator.has_projection:
            raise UserError(
                f"{type(operator).__name__.lstrip('_')} knows no projection on what it measures;"
                " take a method that follows its gradient, such as dps."
            )
        self.operator, self.y = operator, y
        self.affine = operator.linear

    def project(self, x: Tensor) -> Tensor:
        return self.operator.project(x, self.y.to(x))


class Given(ConstraintSet):
    """A set of your own by its ``projection``, a function from images (B, C, H, W) to the nearest
    ones of the set, sample by sample. Say where it is not ``convex``, or ``affine``."""

    def __init__(
        self,
        projection: Callable[[Tensor], Tensor],
        *,
        convex: bool = True,
        affine: bool = False,
    ) -> None:
        self._projection, self.convex, self.affine = projection, convex, affine

    def project(self, x: Tensor) -> Tensor:
        return self._projection(x)


@register("measured")
@dataclass(frozen=True)
class Measured(Constraint):
    """Images that measure as the file ``image`` does: A(x) = A(image), for an ``operator`` by its
    text; ``seed`` draws what is random in it.

    ``measured('mask', 'photo.png')`` keeps what the mask shows of a photo, ``measured(
    'downsample(4)', 'photo.png')`` its coarse shapes (Choi et al. 2021, ILVR, with block means).

    Raises:
        UserError: operators that are not there, and images of another size.
    """

    operator: str = "downsample(4)"
    image: str = ""
    seed: int = 0
    images: ClassVar = "images with A x = A(photo)"
    projection: ClassVar = (
        "x + A⁺(y − A x), range–null-space (DDNM); cell by cell where A quantises"
    )
    variants: ClassVar = ()

    def check_together(self) -> None:
        parse_operator(self.operator)
        if not self.image:
            raise UserError(
                "measured needs the image that is measured; write for example"
                " measured('downsample(4)', 'photo.png')."
            )

    @property
    def files(self) -> tuple[str, ...]:
        return (*super().files, *parse_operator(self.operator).files)

    def fit(self, shape: Shape, dtype: torch.dtype, device: torch.device) -> MeasuredSet:
        operator = parse_operator(self.operator).bind(
            shape, seed=self.seed, device=device, dtype=dtype
        )
        image = image_of(self.image, shape)[None].to(device, dtype)
        return MeasuredSet(operator, operator.forward(image))
