"""The exponential moving average of a network's weights, which is what is sampled from and
exported."""

from __future__ import annotations

import torch
from torch import nn


class EMA:
    """m ← d·m + (1 − d)·w after every step n = 1, 2, …, with d = min(decay, (1 + n)/(10 + n)) so
    that early averages forget the start.

    Floating-point buffers (running statistics) are averaged like weights; integer ones are copied.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after step ``step`` (counted from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        means, values = [], []
        for name, value in network.state_dict().items():
            mean = self.state[name]
            if mean.is_floating_point():
                means.append(mean)
                values.append(value.detach())
            else:
                mean.copy_(value)
        torch._foreach_lerp_(means, values, 1.0 - decay)
