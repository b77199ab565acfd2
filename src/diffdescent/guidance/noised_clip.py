"""GLIDE's noise-aware CLIP (Nichol et al. 2022, sections 2.3 and 4.2) from converted folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from diffdescent.base.errors import UserError
from diffdescent.models.convert import Settings, load_module, read_settings
from diffdescent.models.convert.tokens import clip_tokens
from diffdescent.models.weight_files import weights_fingerprint

from .clip import CLIP, prompts_of
from .pretrained import NoiseAware

INVERSE_TEMPERATURE = 100.0
"""Of the released model, whose files do not hold it."""


def load_noised_clip(
    image: str,
    text: str,
    tokenizer: str,
    prompt: str,
    classes: Sequence[str] | None = None,
    device: torch.device | str = "cpu",
    shape: Sequence[int] | None = None,
) -> CLIP:
    """The two encoders with a prompt, as a guide of x_t at any noise level.

    The gradient is that of 100·⟨f/‖f‖, g/‖g‖⟩, as in the released code. The level is found by its
    σ/α, and x scaled to the size that it has in the encoder's own process.

    Args:
        image: the folder of the converted image encoder.
        text: that of the text encoder.
        tokenizer: CLIP's, as a folder.
        prompt: ``{}`` in it stands for the label's name, one text for each of ``classes``.
        classes: the names of the model's labels.
        device: where the encoders run.
        shape: of one image (C, H, W) that is guided; None: not checked.

    Returns:
        The guide.

    Raises:
        UserError: folders that hold other networks, images of another size than the encoder's,
            embeddings of different sizes, a tokenizer that does not fit, and ``{}`` without names
            of classes.
    """
    seen, read = _settings(image, "CLIPImageEncoder"), _settings(text, "CLIPTextEncoder")
    side, sizes = seen.options["image_size"], [one.options["n_embd"] for one in (seen, read)]
    if shape is not None and tuple(shape) != (3, side, side):
        raise UserError(
            f"{image!r} sees images of 3 × {side} × {side}, and the model's are"
            f" {' × '.join(map(str, shape))}."
        )
    if sizes[0] != sizes[1]:
        raise UserError(
            f"The encoders {image!r} and {text!r} give embeddings of {sizes[0]} and {sizes[1]}"
            " numbers; give two of one CLIP."
        )
    tokens, lengths = clip_tokens(
        tokenizer,
        prompts_of(prompt, classes),
        int(read.options["n_bpe_vocab"]),
        int(read.options["max_text_len"]),
    )
    with torch.no_grad():
        embedded = load_module(text, device)(tokens.to(device), lengths.to(device))
    encode = NoiseAware(load_module(image, device), seen.make_process())
    whose = [weights_fingerprint(Path(folder)) for folder in (image, text)]
    return CLIP(
        encode,
        embedded[0] if len(embedded) == 1 else embedded,
        INVERSE_TEMPERATURE,
        "+".join(whose),
    )


def _settings(folder: str, network: str) -> Settings:
    found = read_settings(Path(folder))
    if found.network != network:
        raise UserError(f"{folder!r} holds a {found.network}, not a {network}.")
    return found
