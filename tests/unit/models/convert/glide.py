"""Small networks of super-resolution, GLIDE and its CLIP as converted folders, and a tokenizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from diffdescent.models.convert import Settings
from diffdescent.models.convert.folder import write_folder

COMMON: dict[str, Any] = {
    "in_channels": 3, "model_channels": 32, "out_channels": 6, "num_res_blocks": 1,
    "attention_resolutions": [2], "channel_mult": [1, 2], "num_heads": 2,
    "use_scale_shift_norm": True,
}  # fmt: skip
TEXT = {"n_vocab": 12, "text_ctx": 4, "xf_width": 8, "xf_layers": 1, "xf_heads": 2}
IMAGE = {
    "image_size": 8,
    "patch_size": 4,
    "n_embd": 6,
    "n_head": 2,
    "n_xf_blocks": 1,
    "n_head_state": 4,
}
READ = {
    "n_bpe_vocab": 60,
    "max_text_len": 8,
    "n_embd": 6,
    "n_head": 2,
    "n_xf_blocks": 1,
    "n_head_state": 4,
}


def folder(path: Path, network: str, **options: Any) -> Path:
    """A network with random weights as a converted folder, the last layer not zero."""
    settings = Settings(
        "adm" if network == "ADMUNet" else "glide", network, {**COMMON, **options}, (3, 8, 8),
        {"kind": "vp", "schedule": "linear"}, learned_variance=True,
    )  # fmt: skip
    return _written(path / network, settings)


def clip_folders(path: Path) -> tuple[Path, Path]:
    """The noise-aware image encoder and the text encoder, with random weights."""
    image, text = (
        Settings("clip", network, options, (3, 8, 8), {"kind": "vp", "schedule": "cosine"})
        for network, options in (("CLIPImageEncoder", IMAGE), ("CLIPTextEncoder", READ))
    )
    return _written(path / "image", image), _written(path / "text", text)


def gpt2_tokenizer(path: Path) -> int:
    """GPT-2's kind, its end of text the last id as in the published one; how many ids it has."""
    from tokenizers import ByteLevelBPETokenizer

    path.mkdir(parents=True, exist_ok=True)
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(["a red cube", "an oil painting"] * 3, vocab_size=270, min_frequency=1)
    made.save_model(str(path))
    vocabulary = json.loads((path / "vocab.json").read_text())
    vocabulary["<|endoftext|>"] = len(vocabulary)
    (path / "vocab.json").write_text(json.dumps(vocabulary))
    return len(vocabulary)


def _written(path: Path, settings: Settings) -> Path:
    torch.manual_seed(0)
    state = settings.build("cpu").state_dict()
    scale = 0.3 if settings.family == "clip" else 0.05
    write_folder(path, settings, {k: torch.randn_like(v) * scale for k, v in state.items()})
    return path
