"""The U-Net of improved DDPM and of ADM, and ADM's noise-aware classifier (Nichol and Dhariwal
2021; Dhariwal and Nichol 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import attend, double, halve, sinusoidal


def norm(channels: int) -> nn.GroupNorm:
    """Normalisation over 32 groups, ε = 1e-5."""
    return nn.GroupNorm(32, channels)


class ResidualBlock(nn.Module):
    """Two convolutions, between them the embedding: as scale and shift, or added.

    ``resample``: the block halves or doubles the resolution of both its paths.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        embedding: int,
        scale_shift: bool,
        resample: Literal["down", "up"] | None = None,
    ) -> None:
        super().__init__()
        self.scale_shift = scale_shift
        self.resample = resample
        conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.in_layers = nn.Sequential(norm(inputs), nn.SiLU(), conv)
        self.emb_layers = nn.Sequential(
            nn.SiLU(), nn.Linear(embedding, 2 * outputs if scale_shift else outputs)
        )
        # Nothing stands where the reference has its dropout, which counts in the tensors' names.
        self.out_layers = nn.Sequential(
            norm(outputs), nn.SiLU(), nn.Identity(), nn.Conv2d(outputs, outputs, 3, padding=1)
        )
        self.skip_connection = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        normalise, activate, convolve = self.in_layers
        h = convolve(self._resampled(activate(normalise(x))))
        shift = self.emb_layers(embedding)[:, :, None, None]
        first, *rest = self.out_layers
        if self.scale_shift:
            scale, shift = shift.chunk(2, dim=1)
            h = first(h) * (1 + scale) + shift
        else:
            h = first(h + shift)
        for layer in rest:
            h = layer(h)
        out: Tensor = self.skip_connection(self._resampled(x)) + h
        return out

    def _resampled(self, x: Tensor) -> Tensor:
        if self.resample is None:
            return x
        return halve(x) if self.resample == "down" else double(x)


class Attention(nn.Module):
    """Self-attention over pixels; with ``context`` channels, also to a text's tokens.

    ``order`` of the rows of ``qkv``: ``"heads first"`` has q, k and v of a head together (improved
    DDPM, legacy ADM, GLIDE), ``"qkv first"`` all heads of q, then of k, then of v.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        order: Literal["heads first", "qkv first"] = "heads first",
        context: int | None = None,
    ) -> None:
        super().__init__()
        self.heads, self.order = heads, order
        self.norm = norm(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.encoder_kv = None if context is None else nn.Conv1d(context, 2 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        batch, channels = x.shape[:2]
        flat = x.flatten(2)
        q, k, v = split_heads(self.qkv(self.norm(flat)), self.heads, 3, self.order)
        if self.encoder_kv is not None and context is not None:
            also_k, also_v = split_heads(self.encoder_kv(context), self.heads, 2, "heads first")
            k, v = torch.cat([also_k, k], dim=-1), torch.cat([also_v, v], dim=-1)
        mixed = attend(q, k, v).reshape(batch, channels, -1)
        out: Tensor = flat + self.proj_out(mixed)
        return out.reshape(x.shape)


def split_heads(x: Tensor, heads: int, parts: int, order: str) -> tuple[Tensor, ...]:
    """(B, parts·C, n) → ``parts`` tensors (B·heads, C/heads, n)."""
    batch, rows, length = x.shape
    width = rows // (parts * heads)
    shape = (heads, parts) if order == "heads first" else (parts, heads)
    x = x.reshape(batch, *shape, width, length)
    found = x.unbind(2) if order == "heads first" else x.unbind(1)
    return tuple(part.reshape(batch * heads, width, length) for part in found)


class Downsample(nn.Module):
    """A convolution of stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.op(x)
        return out


class Upsample(nn.Module):
    """Pixels doubled, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(double(x))
        return out


class Stage(nn.ModuleList):
    """Layers in a row, each given what it takes: the embedding, the text, or nothing."""

    def forward(self, x: Tensor, embedding: Tensor, context: Tensor | None = None) -> Tensor:
        for layer in self:
            if isinstance(layer, ResidualBlock):
                x = layer(x, embedding)
            elif isinstance(layer, Attention):
                x = layer(x, context)
            else:
                x = layer(x)
        return x


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
        self.updown, self.scale_shift = resblock_updown, use_scale_shift_norm
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
