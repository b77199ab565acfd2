"""The optimizer of a training and its learning rate."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn

from diffdescent.base.errors import UserError

from .config import OptimizerConfig

OUTER = frozenset(
    {"conv_in", "conv_out", "time_embedding", "class_embedding", "stem", "head", "time"}
)
"""First, last and embedding layers of our networks: a step of equal length in all directions suits
maps between hidden layers, and not these."""


class Optimizer(Protocol):
    """What the loop asks of one."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...
    def step(self) -> Any: ...
    def zero_grad(self, set_to_none: bool = True) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any], /) -> None: ...


def rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """The learning rate of a step (counted from 0): linear rise, plateau, linear fall to zero at
    ``steps``."""
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    fall = min(1.0, (steps - step) / config.decay) if config.decay else 1.0
    return config.lr * min(rise, fall)


def build_optimizer(network: nn.Module, config: OptimizerConfig) -> Optimizer:
    """The optimizer of a recipe over the parameters that are trained.

    Raises:
        UserError: Muon is asked for, and this PyTorch has none or the network nothing for it.
    """
    if config.kind == "muon":
        return MuonWithAdamW(network, config)
    return _adamw([p for p in network.parameters() if p.requires_grad], config)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """The rate of the next step; a group's ``scale`` multiplies it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)


def _adamw(trained: list[nn.Parameter], config: OptimizerConfig) -> torch.optim.AdamW:
    """AdamW; biases and normalisation gains (tensors of one dimension) do not decay."""
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, foreach=True)


class MuonWithAdamW:
    """Muon (Jordan et al. 2024) for the hidden layers' kernels and matrices, AdamW for all else.

    The averaged gradient G of a matrix is replaced by an approximation of U Vᵀ, where
    G = U Σ Vᵀ, times 0.2 √max(rows, columns) (Liu et al. 2025, "Muon is scalable", section 2.2),
    so that a learning rate of AdamW's and its weight decay serve both (``hidden_lr`` gives Muon one
    of its own). A convolution's kernel is the matrix (outputs, inputs × height × width).
    """

    def __init__(self, network: nn.Module, config: OptimizerConfig) -> None:
        muon = getattr(torch.optim, "Muon", None)
        if muon is None:
            raise UserError(
                "optimizer.kind is 'muon', which PyTorch has from version 2.9 on, and this is"
                f" {torch.__version__}; update PyTorch, or use adamw."
            )
        trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
        hidden = [n for n, p in trained.items() if p.ndim > 1 and n.split(".")[0] not in OUTER]
        if not hidden:
            raise UserError(
                "optimizer.kind is 'muon', but no matrix between hidden layers is trained; use"
                " adamw."
            )
        self.kernels = [trained.pop(name) for name in hidden]
        self.matrices = [nn.Parameter(_matrix(kernel.data, kernel)) for kernel in self.kernels]
        scale = 1.0 if config.hidden_lr is None else config.hidden_lr / config.lr
        self.muon = muon(
            [{"params": self.matrices, "scale": scale}],
            lr=config.lr * scale,
            weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        self.adamw = _adamw(list(trained.values()), config)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of both, whose ``lr`` the loop sets."""
        return [*self.muon.param_groups, *self.adamw.param_groups]

    def step(self) -> None:
        """Move all parameters by their gradients."""
        for matrix, kernel in zip(self.matrices, self.kernels, strict=True):
            # The kernel's memory of now: processes that train together have moved it since.
            matrix.data = _matrix(kernel.data, kernel)
            matrix.grad = None if kernel.grad is None else _matrix(kernel.grad, kernel)
        self.muon.step()
        self.adamw.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        self.muon.zero_grad(set_to_none)
        self.adamw.zero_grad(set_to_none)
        for kernel in self.kernels:
            kernel.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The states of both."""
        return {"muon": self.muon.state_dict(), "adam": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on from :meth:`state_dict`."""
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adam"])


def _matrix(value: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """A kernel's values or its gradient as (outputs, the rest), in the order in which the kernel
    lies in memory, so that its values are not copied."""
    if kernel.ndim == 4 and kernel.is_contiguous(memory_format=torch.channels_last):
        value = value.permute(0, 2, 3, 1)
    return value.reshape(len(value), -1)
