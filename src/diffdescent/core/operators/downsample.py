"""Down-sampling (super-resolution): block means, and bicubic with anti-aliasing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.options import In

from .base import Operator, register
from .bound import Shape
from .kernels import cubic, gathered
from .separable import Separable


@register("downsample")
@dataclass(frozen=True)
class Downsample(Operator):
    """Images ``factor`` times smaller on each side.

    ``method``: ``"average"`` takes the mean of each block; ``"bicubic"`` is Keys' cubic stretched
    by the factor (anti-aliasing), centred on each block, the image mirrored at its edge.

    Raises:
        UserError: sides that the factor does not divide.
    """

    factor: Annotated[int, In(1, hint="4 makes sides a quarter as long")] = 4
    method: Literal["average", "bicubic"] = "average"
    variants: ClassVar = ({"factor": 2}, {"factor": 2, "method": "bicubic"}, {"factor": 1})

    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Separable:
        _, height, width = shape
        if height % self.factor or width % self.factor:
            raise UserError(
                f"Images of height {height} and width {width} cannot be made {self.factor} times"
                f" smaller; take a factor that divides both, or crop the images."
            )
        rows, columns = (self.matrix(n) for n in (height, width))
        return Separable(shape, rows, columns, dtype, device)

    def matrix(self, n: int) -> Tensor:
        """The (n/factor, n) matrix along an axis of ``n`` pixels, float64."""
        f, small = self.factor, n // self.factor
        if self.method == "average":
            return torch.eye(small, dtype=torch.float64).repeat_interleave(f, dim=1) / f
        centres = (torch.arange(small, dtype=torch.float64) + 0.5) * f - 0.5
        places = centres.floor().long()[:, None] + torch.arange(-2 * f, 2 * f + 2)
        weights = cubic((places - centres[:, None]) / f)
        return gathered(places, weights / weights.sum(1, keepdim=True), n, "reflect")
