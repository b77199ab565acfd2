"""``torch.compile`` for a training, held to the gradients of the network itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import nn

from diffdescent.base.errors import UserError
from diffdescent.base.reading import reason


def compiled(network: nn.Module, loss: Callable[[nn.Module], torch.Tensor]) -> nn.Module:
    """``torch.compile(network)``, after one backward pass of each has given the same gradients.

    A compiler's fault need not show in the loss: PyTorch 2.13 on a CPU gives the right output of a
    U-Net of diffusers, and gradients that are exactly zero for every layer below its last
    upsampling, so that the outermost layers learn alone.

    Args:
        network: what is trained; its gradients are not set.
        loss: the loss of a network that computes what ``network`` computes, on one batch.

    Raises:
        UserError: the network cannot be compiled here, and a parameter's gradient differs by more
            than half of its length, where that is at least a thousandth of the whole gradient's.
            Rounding to bfloat16 stays far below.
    """
    try:
        with _unmoved(network):
            plain = _gradients(network, network, loss)
            runner = cast(nn.Module, torch.compile(network))
            found = _gradients(network, runner, loss)
    except torch.cuda.OutOfMemoryError:  # it is a RuntimeError, too
        raise
    except RuntimeError as error:
        raise UserError(
            f"torch.compile fails on this machine ({reason(error)}); install what it asks for, such"
            " as a C++ compiler, or set run.compile=false."
        ) from error
    whole = torch.stack([g.norm() for g in plain.values()]).norm()
    wrong = [
        name
        for name, gradient in plain.items()
        if gradient.norm() > 1e-3 * whole
        and (found[name] - gradient).norm() > 0.5 * gradient.norm()
    ]
    if wrong:
        raise UserError(
            f"torch.compile gives other gradients than the network itself for {len(wrong)} of"
            f" {len(plain)} parameters (the first: {wrong[0]}), a fault of this version of PyTorch"
            f" ({torch.__version__}); set run.compile=false."
        )
    return runner


@contextlib.contextmanager
def _unmoved(network: nn.Module) -> Iterator[None]:
    """Within this block a compiled network gives what the network gives, without dropout, for which
    it draws other numbers; after it nothing has moved, no running mean either."""
    dropouts = {m: m.p for m in network.modules() if isinstance(m, nn.Dropout)}
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    for module in dropouts:
        module.p = 0.0
    try:
        yield
    finally:
        for module, share in dropouts.items():
            module.p = share
        for buffer, before in buffers:
            buffer.copy_(before)


def _gradients(
    network: nn.Module, runner: nn.Module, loss: Callable[[nn.Module], torch.Tensor]
) -> dict[str, torch.Tensor]:
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(
        loss(runner), list(trained.values()), allow_unused=True, materialize_grads=True
    )
    return dict(zip(trained, gradients, strict=True))
