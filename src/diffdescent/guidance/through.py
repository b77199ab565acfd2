"""An evaluation whose gradient can be taken through the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.predict import Prediction


@dataclass(frozen=True)
class Frozen:
    """An evaluation, its estimate ``x0``, and a stand-in for its Jacobian: ∂x̂0/∂x = ``slope``·I."""

    prediction: Prediction
    x0: Tensor
    slope: float

    def pull(self, v: Tensor, again: bool = False) -> Tensor:
        """``slope``·v."""
        return v * self.slope


@dataclass(frozen=True)
class Traced:
    """An evaluation without its graph, its estimate ``x0``, and :meth:`pull`."""

    prediction: Prediction
    x0: Tensor
    _graph: Tensor
    _leaf: Tensor

    def pull(self, v: Tensor, again: bool = False) -> Tensor:
        """(∂x̂0/∂x)ᵀ v in float32 or better; the graph is freed unless it is pulled ``again``."""
        (found,) = torch.autograd.grad(
            self._graph, self._leaf, v.to(self._graph.dtype), retain_graph=again
        )
        return found.to(torch.promote_types(found.dtype, torch.float32))


def trace(ask: Callable[[Tensor], Prediction], x: Tensor, who: str, instead: str = "") -> Traced:
    """``ask(x)`` with its graph; for messages, ``who`` wants the gradient, and ``instead`` of it.

    Raises :class:`UserError` for a network whose output does not depend on x.
    """
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        prediction = ask(leaf)
        if not prediction.raw.requires_grad:
            raise UserError(
                f"{who} takes the gradient through the network, and its output does not depend on"
                f" x; let it compute without no_grad or detach{instead}."
            )
        x0 = prediction.to("x0", leaf)
    variance = prediction.variance
    detached = replace(
        prediction,
        raw=prediction.raw.detach(),
        variance=None if variance is None else variance.detach(),
        guidance=prediction.guidance.map(Tensor.detach),
    )
    return Traced(detached, x0.detach(), x0, leaf)
