"""What several networks share: embeddings of the noise level, attention, resampling."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Order = Literal["sin, cos", "cos, sin"]


def sinusoidal(t: Tensor, dim: int, order: Order, *, last: bool) -> Tensor:
    """Sines and cosines of t·ω_i, (B,) → (B, dim), with ω_i = 10000^(−i/(half − 1)) or, without
    ``last``, 10000^(−i/half), for i < half = dim/2.

    ``last``: whether the lowest frequency 1/10000 is reached. DDPM's U-Net and EDM's SongUNet reach
    it; ADM's U-Net does not. An odd ``dim`` ends in a zero.
    """
    half = dim // 2
    rate = -math.log(10000) / (half - 1 if last else half)
    omega = torch.exp(rate * torch.arange(half, dtype=torch.float32, device=t.device))
    angle = t.float()[:, None] * omega
    pair = (angle.sin(), angle.cos()) if order == "sin, cos" else (angle.cos(), angle.sin())
    return F.pad(torch.cat(pair, dim=1), (0, dim % 2))


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(qᵀk/√c)·v over the last axis: q (B, c, n), k and v (B, c, m), the result (B, c, n).

    Both factors are scaled by c^(−1/4) beforehand, which keeps half precision in range.
    """
    scale = q.shape[1] ** -0.25
    weight = torch.einsum("bcn,bcm->bnm", q * scale, k * scale)
    weight = weight.float().softmax(dim=-1).to(weight.dtype)
    return torch.einsum("bnm,bcm->bcn", weight, v)


def halve(x: Tensor) -> Tensor:
    """The mean of each 2 × 2 block."""
    return F.avg_pool2d(x, 2)


def double(x: Tensor) -> Tensor:
    """Each pixel twice in both directions."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")
