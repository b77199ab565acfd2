"""The U-Net of improved DDPM and of ADM, and ADM's noise-aware classifier (Nichol and Dhariwal
2021; Dhariwal and Nichol 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .adm_blocks import Attention, Downsample, ResidualBlock, Stage, Upsample, norm, split_heads
from .layers import attend, sinusoidal


class _Trunk(nn.Module):
    """The time embedding and the way down to the middle, which U-Net and classifier share."""

    def __init__(
        self,
        in_channels: int,
        model_channels: int,
        num_res_blocks: int,
        attention_resolutions: Sequence[int],
        channel_mult: Sequence[float],
        num_heads: int,
        num_head_channels: int,
        use_scale_shift_norm: bool,
        resblock_updown: bool,
        use_new_attention_order: bool,
        context: int | None = None,
    ) -> None:
        super().__init__()
        self.model_channels, self.wide = model_channels, 4 * model_channels
        self.scale_shift = use_scale_shift_norm
        self.heads, self.head_width = num_heads, num_head_channels
        self.new_order, self.context = use_new_attention_order, context
        self.time_embed = nn.Sequential(
            nn.Linear(model_channels, self.wide), nn.SiLU(), nn.Linear(self.wide, self.wide)
        )
        width = int(channel_mult[0] * model_channels)
        self.input_blocks = nn.ModuleList([Stage([nn.Conv2d(in_channels, width, 3, padding=1)])])
        self.widths, factor = [width], 1
        for level, mult in enumerate(channel_mult):
            for _ in range(num_res_blocks):
                outputs = int(mult * model_channels)
                layers: list[nn.Module] = [self._block(width, outputs)]
                width = outputs
                if factor in attention_resolutions:
                    layers.append(self._attention(width))
                self.input_blocks.append(Stage(layers))
                self.widths.append(width)
            if level < len(channel_mult) - 1:
                down = self._block(width, width, "down") if resblock_updown else Downsample(width)
                self.input_blocks.append(Stage([down]))
                self.widths.append(width)
                factor *= 2
        self.middle_block = Stage(
            [self._block(width, width), self._attention(width), self._block(width, width)]
        )
        self.width, self.factor = width, factor

    def _block(
        self, inputs: int, outputs: int, resample: Literal["down", "up"] | None = None
    ) -> ResidualBlock:
        return ResidualBlock(inputs, outputs, self.wide, self.scale_shift, resample)

    def _attention(self, channels: int) -> Attention:
        heads = self.heads if self.head_width == -1 else channels // self.head_width
        order: Literal["heads first", "qkv first"] = (
            "qkv first" if self.new_order else "heads first"
        )
        return Attention(channels, heads, order, self.context)

    def _time(self, t: Tensor) -> Tensor:
        out: Tensor = self.time_embed(sinusoidal(t, self.model_channels, "cos, sin", last=False))
        return out

    def _down(self, x: Tensor, embedding: Tensor, context: Tensor | None = None) -> list[Tensor]:
        states: list[Tensor] = []
        for stage in self.input_blocks:
            x = stage(x, embedding, context)
            states.append(x)
        states.append(self.middle_block(x, embedding, context))
        return states


class ADMUNet(_Trunk):
    """(x, t, labels) → ε, with 2C output channels followed by the variance's fraction.

    The options have the names and meanings of the released command lines; ``attention_resolutions``
    are factors of downsampling. ``num_head_channels``, unless −1, replaces ``num_heads``. With
    ``low_res`` the network takes a smaller image in addition to x, which is enlarged bilinearly
    (super-resolution): ``in_channels`` then counts x alone.
    """

    def __init__(
        self,
        in_channels: int = 3,
        model_channels: int = 128,
        out_channels: int = 6,
        num_res_blocks: int = 2,
        attention_resolutions: Sequence[int] = (2, 4),
        channel_mult: Sequence[float] = (1, 2, 2, 2),
        num_classes: int | None = None,
        num_heads: int = 1,
        num_head_channels: int = -1,
        use_scale_shift_norm: bool = True,
        resblock_updown: bool = False,
        use_new_attention_order: bool = False,
        low_res: bool = False,
        context: int | None = None,
        more_channels: int = 0,
    ) -> None:
        super().__init__(
            in_channels * (2 if low_res else 1) + more_channels,
            model_channels,
            num_res_blocks,
            attention_resolutions,
            channel_mult,
            num_heads,
            num_head_channels,
            use_scale_shift_norm,
            resblock_updown,
            use_new_attention_order,
            context,
        )
        self.low_res = low_res
        self.label_emb = None if num_classes is None else nn.Embedding(num_classes, self.wide)
        self.output_blocks = nn.ModuleList()
        widths, width, factor = list(self.widths), self.width, self.factor
        for level, mult in reversed(list(enumerate(channel_mult))):
            for k in range(num_res_blocks + 1):
                outputs = int(mult * model_channels)
                layers: list[nn.Module] = [self._block(width + widths.pop(), outputs)]
                width = outputs
                if factor in attention_resolutions:
                    layers.append(self._attention(width))
                if level and k == num_res_blocks:
                    layers.append(
                        self._block(width, width, "up") if resblock_updown else Upsample(width)
                    )
                    factor //= 2
                self.output_blocks.append(Stage(layers))
        self.out = nn.Sequential(
            norm(width), nn.SiLU(), nn.Conv2d(width, out_channels, 3, padding=1)
        )

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        labels: Tensor | None = None,
        low_res: Tensor | None = None,
    ) -> Tensor:
        embedding = self._time(t)
        if self.label_emb is not None and labels is not None:
            embedding = embedding + self.label_emb(labels)
        return self._run(self._with_low_res(x, low_res), embedding)

    def _with_low_res(self, x: Tensor, low_res: Tensor | None) -> Tensor:
        if not self.low_res:
            return x
        if low_res is None:
            low_res = x.new_zeros(x.shape)
        size = (int(x.shape[-2]), int(x.shape[-1]))
        return torch.cat([x, F.interpolate(low_res, size, mode="bilinear")], dim=1)

    def _run(self, x: Tensor, embedding: Tensor, context: Tensor | None = None) -> Tensor:
        *skips, h = self._down(x, embedding, context)
        for stage in self.output_blocks:
            h = stage(torch.cat([h, skips.pop()], dim=1), embedding, context)
        out: Tensor = self.out(h)
        return out


class AttentionPool(nn.Module):
    """The mean over pixels attends to the pixels: (B, C, H, W) → (B, outputs)."""

    def __init__(self, side: int, channels: int, head_width: int, outputs: int) -> None:
        super().__init__()
        self.heads = channels // head_width
        self.positional_embedding = nn.Parameter(torch.zeros(channels, side * side + 1))
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        flat = torch.cat([flat.mean(dim=-1, keepdim=True), flat], dim=-1)
        flat = flat + self.positional_embedding
        q, k, v = split_heads(self.qkv_proj(flat), self.heads, 3, "qkv first")
        mixed = attend(q, k, v).reshape(flat.shape)
        out: Tensor = self.c_proj(mixed)[:, :, 0]
        return out


class ADMClassifier(_Trunk):
    """(x, t) → logits of the classes, (B, out_channels)."""

    def __init__(
        self,
        image_size: int,
        in_channels: int = 3,
        model_channels: int = 128,
        out_channels: int = 1000,
        num_res_blocks: int = 2,
        attention_resolutions: Sequence[int] = (2, 4, 8),
        channel_mult: Sequence[float] = (1, 2, 3, 4),
        num_head_channels: int = 64,
        use_scale_shift_norm: bool = True,
        resblock_updown: bool = True,
        use_new_attention_order: bool = False,
    ) -> None:
        super().__init__(
            in_channels,
            model_channels,
            num_res_blocks,
            attention_resolutions,
            channel_mult,
            1,
            num_head_channels,
            use_scale_shift_norm,
            resblock_updown,
            use_new_attention_order,
        )
        pool = AttentionPool(image_size // self.factor, self.width, num_head_channels, out_channels)
        self.out = nn.Sequential(norm(self.width), nn.SiLU(), pool)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        out: Tensor = self.out(self._down(x, self._time(t))[-1])
        return out
