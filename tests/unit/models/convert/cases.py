"""Recorded networks of reference implementations: weights by a rule, one input, its outputs."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffdescent.models.convert import Settings
from tests.paths import DATA


def _read(name: str) -> Any:
    return json.loads(gzip.decompress((DATA / name).read_bytes()))


CASES: dict[str, Any] = _read("network_cases.json.gz")
PUBLISHED_KEYS: dict[str, dict[str, list[int]]] = _read("published_keys.json.gz")
ARRAYS = np.load(DATA / "networks.npz")


def arrays(case: str) -> dict[str, Tensor]:
    """A case's inputs and outputs, the first sample of each."""
    names = [n for n in ARRAYS.files if n.startswith(f"{case}/")]
    return {n.partition("/")[2]: torch.from_numpy(ARRAYS[n]) for n in names}


def tensor(name: str, shape: list[int]) -> Tensor:
    """The weights of a tensor, by its name and shape alone."""
    if name.endswith("resample_filter"):
        taps = np.ones(2) if shape[-1] == 2 else np.array([1.0, 3.0, 3.0, 1.0])
        values = (np.outer(taps, taps) / taps.sum() ** 2).reshape(shape)
    else:
        values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
        if len(shape) >= 2:
            values = values / np.sqrt(np.prod(shape[1:]))
        elif name.endswith("freqs"):
            values = 16 * values
        else:
            gain = name.endswith(("weight", ".g"))
            values = 1 + 0.2 * values if gain else 0.1 * values
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def state(case: str) -> dict[str, Tensor]:
    return {name: tensor(name, shape) for name, shape in CASES[case]["keys"].items()}


_ADM = (
    "in_channels", "model_channels", "out_channels", "num_res_blocks", "attention_resolutions",
    "channel_mult", "num_classes", "num_heads", "num_head_channels", "use_scale_shift_norm",
    "resblock_updown", "use_new_attention_order",
)  # fmt: skip
_SONG = (
    "img_resolution", "img_channels", "label_dim", "augment_dim", "model_channels", "channel_mult",
    "channel_mult_emb", "num_blocks", "attn_resolutions", "embedding_type", "channel_mult_noise",
    "encoder_type", "resample_filter",
)  # fmt: skip
_TEXT = ("n_vocab", "text_ctx", "xf_width", "xf_layers", "xf_heads")


def _some(config: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {n: config[n] for n in names if config.get(n) is not None}


def settings(case: str) -> Settings:
    """A case's own hyper-parameters in our words."""
    architecture, config = CASES[case]["architecture"], CASES[case]["config"]
    shape, process, scale = (3, 16, 16), {"kind": "vp"}, 1.0
    options: dict[str, Any]
    if architecture == "ddim":
        family, network = "ddim", "DDPMUNet"
        options = {
            "image_size": 16, "channels": config["ch"], "multipliers": config["ch_mult"],
            "blocks": config["num_res_blocks"], "attention_at": config["attn_resolutions"],
            "conv_resample": config["resamp_with_conv"],
        }  # fmt: skip
    elif architecture == "ddpm_torch":
        family, network = "ddpm_torch", "DDPMUNet"
        sides = [16 >> k for k, there in enumerate(config["apply_attn"]) if there]
        options = {
            "image_size": 16, "channels": config["hid_channels"],
            "multipliers": config["ch_multipliers"], "blocks": config["num_res_blocks"],
            "attention_at": sides,
        }  # fmt: skip
    elif architecture == "pndm_ddpm":
        family, network = "score_sde", "DDPMUNet"
        options = {
            "image_size": 16, "channels": config["nf"], "multipliers": config["ch_mult"],
            "blocks": config["num_res_blocks"], "attention_at": config["attn_resolutions"],
            "attend_up": "last",
        }  # fmt: skip
    elif architecture == "pndm_ncsnpp":
        family, network = "score_sde", "SongUNet"
        options = {
            "img_resolution": 16, "model_channels": config["nf"],
            "channel_mult": config["ch_mult"], "num_blocks": config["num_res_blocks"],
            "attn_resolutions": config["attn_resolutions"],
        }  # fmt: skip
    elif architecture == "adm_cls":
        family, network = "adm", "ADMClassifier"
        options = {"image_size": 16, **_some(config, _ADM)}
    elif architecture == "glide":
        family, network = "glide", "GLIDEUNet"
        options = {
            "inpaint": "Inpaint" in config["class"], "low_res": "SuperRes" in config["class"],
            **_some(config, (*_TEXT, *_ADM)),
        }  # fmt: skip
    elif architecture.startswith("clip"):
        family = "clip"
        network = "CLIPImageEncoder" if architecture == "clip_img" else "CLIPTextEncoder"
        options = dict(config)
    elif architecture == "edm":
        family, network = "edm", config["model_type"]
        options = _some(config, _SONG)
        kinds = {"EDMPrecond": "edm", "VEPrecond": "ve", "VPPrecond": "vp_continuous"}
        process = {"kind": kinds.get(config["precond"], "vp")}
        if config["precond"] == "VPPrecond":
            process.update(beta_min=0.1, beta_max=20.0)
            scale = 999.0
        if config["precond"] == "iDDPMPrecond":
            process.update(schedule="cosine", steps=1000)
            options["out_channels"] = 6
    else:
        family, network = "adm", "ADMUNet"
        options = {"low_res": architecture.endswith("_sr"), **_some(config, _ADM)}
    learned = options.get("out_channels") == 6 and network != "ADMClassifier"
    return Settings(family, network, options, shape, process, scale, learned, case)
