"""deepinv's operators (Tachella et al. 2025) here: an adapter, which imports nothing of deepinv."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffdescent.base.errors import UserError

from .base import Operator
from .bound import Bound, Linear, Shape
from .function import Function, tried


@dataclass(frozen=True, eq=False)
class DeepInv(Operator):
    """A ``physics`` of deepinv, without its noise: ``A``, and ``A_adjoint`` and ``A_dagger`` where
    it has them; else its gradient by automatic differentiation.

    It works on images of the size and dtype that it was made for, here in [−1, 1].

    Raises:
        UserError: an object that measures nothing, and images that it does not take.
    """

    physics: Any
    name: ClassVar[str] = "deepinv"

    def check_together(self) -> None:
        if not callable(getattr(self.physics, "A", None)):
            raise UserError(
                f"{type(self.physics).__name__} has no method A, so it is not a physics of deepinv;"
                " give for example deepinv.physics.Inpainting(…)."
            )

    def fit(self, shape: Shape, seed: int, dtype: torch.dtype, device: torch.device) -> Bound:
        if hasattr(self.physics, "to"):
            self.physics.to(device)  # a dtype would make complex buffers real
        if not hasattr(self.physics, "A_adjoint"):
            return Function(self.physics.A).fit(shape, seed, dtype, device)
        y = tried(self.physics.A, torch.zeros(2, *shape, dtype=dtype, device=device))
        return _Adapted(self.physics, shape, tuple(y.shape[1:]), dtype, device)


class _Adapted(Linear):
    """``has_pinv`` is false: whether ``A_dagger`` is a closed form, a physics does not say."""

    def __init__(
        self,
        physics: Any,
        in_shape: Shape,
        out_shape: Shape,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__(in_shape, out_shape, dtype, device)
        self._physics = physics

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self._physics.A(x)
        return made

    def adjoint(self, y: Tensor) -> Tensor:
        made: Tensor = self._physics.A_adjoint(y)
        return made

    def pinv(self, y: Tensor) -> Tensor:
        made: Tensor = self._physics.A_dagger(y)
        return made
