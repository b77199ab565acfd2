"""What a label stands for, read from files: small images, texts, and images of which a part is
kept."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.image_sets import read_images
from diffdescent.base.images import from_uint8, read_image
from diffdescent.models.convert import Inputs, Settings, read_settings
from diffdescent.models.convert.inputs import check_taken
from diffdescent.models.convert.tokens import unet_tokens

from .prompts import prompt_or_file

T = TypeVar("T", Tensor, list[str])
CALLED = {
    "low_res": "--images",
    "classes": "--classes",
    "tokens": "--prompt or --prompts",
    "mask": "--prompt or --prompts",
    "inpaint_image": "--init and --mask",
    "inpaint_mask": "--mask",
}
"""The options that a part of the inputs is read from."""


@dataclass(frozen=True)
class Files:
    """Where the inputs are: each has one entry for every label, or one for all of them.

    Args:
        images: small images to enlarge.
        classes: their classes, by number.
        prompt: a text; ``prompts`` a file of them.
        tokenizer: GLIDE's, as a folder (GPT-2's ``vocab.json`` and ``merges.txt``).
        init: images of which a part is kept; ``mask`` is white there.
    """

    images: Path | None = None
    classes: Sequence[int] | None = None
    prompt: str | None = None
    prompts: Path | None = None
    tokenizer: Path | None = None
    init: Path | None = None
    mask: Path | None = None


def read_inputs(network: Path, files: Files) -> tuple[Inputs, list[str]]:
    """The inputs of the network in a folder, and what their labels are called: by their texts where
    each has its own, else by their images.

    Raises:
        UserError: files that the network does not take, lacks or that cannot be read, a text
            without a tokenizer, an image without a mask, images of another size than the network's,
            and entries of different numbers.
    """
    if not (network / "config.json").is_file():
        raise UserError(
            f"{network} is not the folder of a converted network; convert a super-resolution, GLIDE"
            " or inpainting checkpoint first: diffdescent convert CHECKPOINT --out FOLDER."
        )
    settings = read_settings(network)
    texts = prompt_or_file(files.prompt, files.prompts)
    if texts is None and files.prompt is not None:
        texts = [files.prompt]
    given = {
        "low_res": files.images,
        "classes": files.classes,
        "tokens": texts,
        "inpaint_image": files.init or files.mask,
    }
    check_taken(network, settings, [k for k, v in given.items() if v is not None], CALLED)
    parts: dict[str, Tensor] = {}
    names: list[str] = []
    if files.init is not None or files.mask is not None:
        parts["inpaint_image"], parts["inpaint_mask"], names = _kept(settings, files)
    if files.images is not None:
        small = read_images(files.images)
        parts["low_res"], names = from_uint8(small.images), [Path(n).stem for n in small.names]
    if files.classes is not None:
        parts["classes"] = torch.tensor(files.classes, dtype=torch.int64)
    if texts is None and files.tokenizer is not None:
        raise UserError("--tokenizer belongs to a text; give --prompt or --prompts too.")
    if texts is not None:
        if files.tokenizer is None:
            raise UserError("A text needs the tokenizer of GLIDE; give its folder, --tokenizer.")
        options = settings.options
        parts["tokens"], parts["mask"] = unet_tokens(
            files.tokenizer, texts, int(options["n_vocab"]), int(options["text_ctx"])
        )
    count = max(len(part) for part in parts.values())
    spread = {name: _spread(part, count, CALLED.get(name, name)) for name, part in parts.items()}
    if texts is not None and (len(texts) == count or not names):
        return Inputs(**spread), _spread(texts, count, "names")
    return Inputs(**spread), _distinct(_spread(names, count, "names"))


def _kept(settings: Settings, files: Files) -> tuple[Tensor, Tensor, list[str]]:
    if files.init is None or files.mask is None:
        raise UserError("Give --init, the images, and --mask, white where they are kept.")
    found, mask = read_images(files.init), read_image(files.mask, 1)
    for what, shape in ((files.init, found.shape), (files.mask, tuple(mask.shape))):
        if settings.shape is not None and shape[-2:] != tuple(settings.shape[-2:]):
            raise UserError(
                f"{what} has {shape[-2]} × {shape[-1]} pixels, and the network's images have"
                f" {settings.shape[-2]} × {settings.shape[-1]}; resize it."
            )
    kept = (mask >= 128).float().expand(len(found), -1, -1, -1)
    return from_uint8(found.images), kept, [Path(name).stem for name in found.names]


def _spread(part: T, count: int, name: str) -> T:
    """As many entries as there are labels, of as many or of one for all."""
    if len(part) == count:
        return part
    if len(part) != 1:
        raise UserError(
            f"There are {count} labels and {len(part)} entries of {name}; give one for each label,"
            " or one for all."
        )
    return part.repeat(count, *[1] * (part.ndim - 1)) if isinstance(part, Tensor) else part * count


def _distinct(names: list[str]) -> list[str]:
    """A label is found by its name, so images whose names come again get a number."""
    found: dict[str, None] = {}
    for name in names:
        tries = (f"{name} ({k})" if k else name for k in itertools.count(0 if name else 1))
        found[next(one for one in tries if one not in found)] = None
    return list(found)
