"""The U-Net of DDPM and DDIM (Ho et al. 2020, appendix B; Song et al. 2021), which the momentum,
PNDM and gradient-estimation papers sample CIFAR-10, CelebA and LSUN from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import attend, double, sinusoidal


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, channels, eps=1e-6)


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, embedding: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(inputs), nn.Conv2d(inputs, outputs, 3, padding=1)
        self.temb_proj = nn.Linear(embedding, outputs)
        self.norm2, self.conv2 = _norm(outputs), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.nin_shortcut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.temb_proj(F.silu(embedding))[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        out: Tensor = h + (x if self.nin_shortcut is None else self.nin_shortcut(x))
        return out


class _Attention(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _norm(channels)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(channels, channels, 1) for _ in "qkvp")

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        mixed = attend(*(part(h).flatten(2) for part in (self.q, self.k, self.v)))
        out: Tensor = x + self.proj_out(mixed.reshape(x.shape))
        return out


class _Resample(nn.Module):
    def __init__(self, channels: int, direction: Literal["down", "up"], conv: bool) -> None:
        super().__init__()
        self.direction = direction
        stride, padding = (2, 0) if direction == "down" else (1, 1)
        self.conv = nn.Conv2d(channels, channels, 3, stride, padding) if conv else None

    def forward(self, x: Tensor) -> Tensor:
        if self.direction == "up":
            x = double(x)
        elif self.conv is None:
            return F.avg_pool2d(x, 2)
        else:
            x = F.pad(x, (0, 1, 0, 1))
        return x if self.conv is None else self.conv(x)


class Level(nn.Module):
    """The blocks at one resolution, an attention or nothing after each, and the way to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.attn = nn.ModuleList(), nn.ModuleList()
        self.downsample: _Resample | None = None
        self.upsample: _Resample | None = None

    def attention_after(self, number: int) -> nn.Module | None:
        """The attention after block ``number``; the last one's where there is one for a level."""
        if len(self.attn) == len(self.block):
            return self.attn[number]
        return self.attn[0] if len(self.attn) and number == len(self.block) - 1 else None


def levels(modules: nn.ModuleList) -> list[Level]:
    """The levels of one way through the network, the finest first."""
    return [module for module in modules if isinstance(module, Level)]


class _Middle(nn.Module):
    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.block_1 = _Block(channels, channels, embedding)
        self.attn_1 = _Attention(channels)
        self.block_2 = _Block(channels, channels, embedding)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        out: Tensor = self.block_2(self.attn_1(self.block_1(x, embedding)), embedding)
        return out


class _Embedding(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dim, wide = channels, 4 * channels
        self.dense = nn.ModuleList([nn.Linear(channels, wide), nn.Linear(wide, wide)])

    def forward(self, t: Tensor) -> Tensor:
        first, second = self.dense
        out: Tensor = second(F.silu(first(sinusoidal(t, self.dim, "sin, cos", last=True))))
        return out


class DDPMUNet(nn.Module):
    """(x, t) → ε of x's shape.

    Args:
        image_size: side of the images, from which the resolutions of the levels follow.
        channels, multipliers: width of a level is channels × its multiplier; each level halves the
            resolution of the one before.
        blocks: residual blocks of a level on the way down; one more on the way up.
        attention_at: resolutions (sides) at which attention follows each block.
        conv_resample: resample with a convolution, not by pooling.
        attend_up: on the way up, attention follows ``"every"`` block (DDPM, DDIM), or only the
            ``"last"`` of a level (the same network in the score-SDE code).
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int = 3,
        out_channels: int = 3,
        channels: int = 128,
        multipliers: Sequence[int] = (1, 2, 2, 2),
        blocks: int = 2,
        attention_at: Sequence[int] = (16,),
        conv_resample: bool = True,
        attend_up: Literal["every", "last"] = "every",
    ) -> None:
        super().__init__()
        wide = 4 * channels
        self.temb = _Embedding(channels)
        self.conv_in = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        skips, width = [channels], channels
        for number, factor in enumerate(multipliers):
            level = Level()
            for _ in range(blocks):
                level.block.append(_Block(width, factor * channels, wide))
                width = factor * channels
                skips.append(width)
                if image_size >> number in attention_at:
                    level.attn.append(_Attention(width))
            if number < len(multipliers) - 1:
                level.downsample = _Resample(width, "down", conv_resample)
                skips.append(width)
            self.down.append(level)
        self.mid = _Middle(width, wide)
        for number, factor in reversed(list(enumerate(multipliers))):
            level = Level()
            for k in range(blocks + 1):
                level.block.append(_Block(width + skips.pop(), factor * channels, wide))
                width = factor * channels
                if image_size >> number in attention_at and (attend_up == "every" or k == blocks):
                    level.attn.append(_Attention(width))
            if number:
                level.upsample = _Resample(width, "up", conv_resample)
            self.up.insert(0, level)
        self.norm_out = _norm(width)
        self.conv_out = nn.Conv2d(width, out_channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        embedding = self.temb(t)
        x = self.conv_in(x)
        skips = [x]
        for level in levels(self.down):
            for k, block in enumerate(level.block):
                x = block(x, embedding)
                attention = level.attention_after(k)
                x = x if attention is None else attention(x)
                skips.append(x)
            if level.downsample is not None:
                x = level.downsample(x)
                skips.append(x)
        x = self.mid(x, embedding)
        for level in reversed(levels(self.up)):
            for k, block in enumerate(level.block):
                x = block(torch.cat([x, skips.pop()], dim=1), embedding)
                attention = level.attention_after(k)
                x = x if attention is None else attention(x)
            x = x if level.upsample is None else level.upsample(x)
        out: Tensor = self.conv_out(F.silu(self.norm_out(x)))
        return out
