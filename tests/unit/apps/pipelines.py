"""Pipelines of diffusers from small random configs: nothing is downloaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import diffusers
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
SIZE = 16
"""Pixels; latents are half as large."""


def seeded(make: Callable[..., Any], *args: Any, **config: Any) -> Any:
    torch.manual_seed(0)
    return make(*args, **config).eval()


@cache
def tokenizer() -> CLIPTokenizer:
    folder = Path(mkdtemp())
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{x}</w>" for x in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {"model_max_length": 16, "pad_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
        )
    )
    return CLIPTokenizer.from_pretrained(str(folder))


def text_config(width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=54,
        hidden_size=width,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=width,
        bos_token_id=52,
        eos_token_id=53,
        pad_token_id=53,
    )


@cache
def vae(channels: int = 4) -> AutoencoderKL:
    return seeded(
        AutoencoderKL,
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        sample_size=SIZE,
        shift_factor=0.0,
    )


def unet(channels: int = 4, **more: Any) -> UNet2DConditionModel:
    config = {
        "sample_size": SIZE // 2,
        "in_channels": channels,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 8,
        "attention_head_dim": 4,
        "norm_num_groups": 4,
        **more,
    }
    return seeded(UNet2DConditionModel, **config)


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


@cache
def stable_diffusion(kind: str = "") -> Any:
    """StableDiffusionPipeline, or its ``Img2Img`` and ``Inpaint`` kinds."""
    return quiet(
        getattr(diffusers, f"StableDiffusion{kind}Pipeline")(
            vae=vae(),
            text_encoder=seeded(CLIPTextModel, text_config(8)),
            tokenizer=tokenizer(),
            unet=unet(),
            scheduler=diffusers.DDIMScheduler(**SD, clip_sample=False, set_alpha_to_one=False),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    )


@cache
def sdxl(kind: str = "") -> Any:
    net = unet(
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=32,
        transformer_layers_per_block=1,
        cross_attention_dim=16,
    )
    return quiet(
        getattr(diffusers, f"StableDiffusionXL{kind}Pipeline")(
            vae=vae(),
            unet=net,
            tokenizer=tokenizer(),
            tokenizer_2=tokenizer(),
            text_encoder=seeded(CLIPTextModel, text_config(8)),
            text_encoder_2=seeded(CLIPTextModelWithProjection, text_config(8)),
            scheduler=diffusers.EulerDiscreteScheduler(**SD, timestep_spacing="leading"),
            add_watermarker=False,
        )
    )


@cache
def sd3(kind: str = "") -> Any:
    transformer = seeded(
        diffusers.SD3Transformer2DModel,
        sample_size=SIZE // 2,
        patch_size=2,
        in_channels=16,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=8,
        pooled_projection_dim=16,
        out_channels=16,
        pos_embed_max_size=8,
    )
    return quiet(
        getattr(diffusers, f"StableDiffusion3{kind}Pipeline")(
            transformer=transformer,
            scheduler=diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0),
            vae=vae(16),
            tokenizer=tokenizer(),
            tokenizer_2=tokenizer(),
            tokenizer_3=None,
            text_encoder_3=None,
            text_encoder=seeded(CLIPTextModelWithProjection, text_config(8)),
            text_encoder_2=seeded(CLIPTextModelWithProjection, text_config(8)),
        )
    )


@cache
def flux(kind: str = "") -> Any:
    transformer = seeded(
        diffusers.FluxTransformer2DModel,
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=8,
        pooled_projection_dim=8,
        axes_dims_rope=(2, 2, 4),
        guidance_embeds=False,
    )
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    return quiet(
        getattr(diffusers, f"Flux{kind}Pipeline")(
            transformer=transformer,
            scheduler=scheduler,
            vae=vae(),
            text_encoder=None,
            text_encoder_2=None,
            tokenizer=None,
            tokenizer_2=None,
        )
    )


@cache
def dit() -> Any:
    transformer = seeded(
        diffusers.DiTTransformer2DModel,
        sample_size=8,
        num_layers=1,
        patch_size=2,
        attention_head_dim=4,
        num_attention_heads=2,
        in_channels=4,
        out_channels=8,
        num_embeds_ada_norm=1000,
        norm_type="ada_norm_zero",
        norm_elementwise_affine=False,
        attention_bias=True,
        activation_fn="gelu-approximate",
    )
    scheduler = diffusers.DDIMScheduler(**SD, clip_sample=False)
    return quiet(diffusers.DiTPipeline(transformer=transformer, vae=vae(), scheduler=scheduler))


def embeds(width: int, tokens: int = 6, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Random prompt embeddings: for the positive and for the negative prompt."""
    generator = torch.Generator().manual_seed(5)
    return tuple(torch.randn(2, batch, tokens, width, generator=generator))  # type: ignore[return-value]


def picture(batch: int = 1) -> Tensor:
    """Images in [0, 1]."""
    return torch.rand(batch, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(7))


def mask() -> Tensor:
    """1 in the left half, which is painted anew."""
    value = torch.zeros(1, 1, SIZE, SIZE)
    value[..., : SIZE // 2] = 1
    return value
