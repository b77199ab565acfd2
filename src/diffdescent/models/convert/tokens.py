"""Texts as the token ids that GLIDE's networks know, by tokenizers from a local folder.

Each network pads in a way of its own, so the folder's own padding is not used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.reading import reason


def unet_tokens(
    folder: str | Path, texts: Sequence[str], words: int, length: int
) -> tuple[Tensor, Tensor]:
    """Of GLIDE's base and upsampler, by GPT-2's byte pairs (``vocab.json`` and ``merges.txt``).

    The ids of the text in lower case, as many as fit; the last id of the vocabulary in the places
    that are left, which the mask leaves out (Nichol et al. 2022, released code).

    Args:
        folder: the tokenizer's.
        texts: K of them.
        words: how many ids the network knows.
        length: its ``text_ctx``.

    Returns:
        ``tokens`` (K, length) int64, and ``mask`` (K, length), True at the ids of the text.

    Raises:
        UserError: no transformers, no tokenizer in the folder, and one of another vocabulary.
    """
    tokenizer = _loaded(folder, "GPT2Tokenizer")
    if len(tokenizer) != words:
        raise UserError(
            f"The tokenizer in {folder} has {len(tokenizer):,} tokens, and the network knows"
            f" {words:,}; GLIDE's is that of GPT-2."
        )
    tokens = torch.full((len(texts), length), words - 1)
    mask = torch.zeros(len(texts), length, dtype=torch.bool)
    for row, text in enumerate(texts):
        ids = tokenizer(text.lower(), add_special_tokens=False)["input_ids"][:length]
        tokens[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
        mask[row, : len(ids)] = True
    return tokens, mask


def clip_tokens(
    folder: str | Path, texts: Sequence[str], words: int, length: int
) -> tuple[Tensor, Tensor]:
    """Of GLIDE's noise-aware CLIP, by CLIP's byte pairs.

    Start, the ids of the text, end, and 0 in the places that are left; a long text is cut before
    its end.

    Args:
        folder: the tokenizer's.
        texts: K of them.
        words: how many ids the network knows (more than there are).
        length: its ``max_text_len``.

    Returns:
        ``tokens`` (K, length) int64, and how many of them start, text and end are, (K,).

    Raises:
        UserError: no transformers, no tokenizer in the folder, and one of a larger vocabulary.
    """
    tokenizer = _loaded(folder, "CLIPTokenizer")
    if len(tokenizer) > words:
        raise UserError(
            f"The tokenizer in {folder} has {len(tokenizer):,} tokens, and the network knows"
            f" {words:,}; GLIDE's noise-aware CLIP reads those of CLIP."
        )
    tokens = torch.zeros(len(texts), length, dtype=torch.int64)
    lengths = torch.zeros(len(texts), dtype=torch.int64)
    for row, text in enumerate(texts):
        ids = tokenizer(text, truncation=True, max_length=length)["input_ids"]
        tokens[row, : len(ids)] = torch.tensor(ids, dtype=torch.int64)
        lengths[row] = len(ids)
    return tokens, lengths


def _loaded(folder: str | Path, kind: str) -> Any:
    try:
        import transformers
    except ImportError:
        raise UserError(
            "Texts need transformers; install it with: pip install 'diffdescent[diffusers]'."
        ) from None
    if not Path(folder).is_dir():
        raise UserError(f"There is no folder {str(folder)!r}; give the one of a {kind}.")
    try:
        # Without its files the library makes a tokenizer that knows nothing.
        if not any((Path(folder) / name).is_file() for name in ("vocab.json", "tokenizer.json")):
            raise ValueError("its vocabulary is not there")
        found = getattr(transformers, kind).from_pretrained(folder, local_files_only=True)
    except Exception as error:  # a damaged folder can raise anything in the library
        raise UserError(
            f"{folder} holds no {kind} ({reason(error)}); copy its vocab.json and merges.txt there."
        ) from error
    return found
