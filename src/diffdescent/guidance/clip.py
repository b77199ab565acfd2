"""Guidance by the similarity of an image and a text in a common space of embeddings (CLIP, Radford
et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.base.reading import reason
from diffdescent.core.process import Point
from diffdescent.models.weight_files import weights_fingerprint

from .guide import gradient_of

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of the RGB values in [0, 1] of CLIP's training images (openai/CLIP)."""


def clip_pixels(
    x: Tensor, size: int, mean: Sequence[float] = MEAN, std: Sequence[float] = STD
) -> Tensor:
    """Images as CLIP sees them: (B, 1 or 3, H, W) in [−1, 1] → (B, 3, size, size), differentiable.

    The shorter side is resized to ``size`` (bicubic, antialiased), the middle is cut out, and
    (value in [0, 1] − mean)/std taken. Nothing is clamped: a pixel out of range keeps its gradient.

    Raises:
        UserError: another number of channels.
    """
    if x.shape[1] not in (1, 3):
        raise UserError(
            f"CLIP sees grey or RGB images, not {x.shape[1]} channels; decode latents before."
        )
    height, width = x.shape[-2:]
    short = min(height, width)
    sides = (round(height * size / short), round(width * size / short))
    if sides != (height, width):
        x = F.interpolate(x, sides, mode="bicubic", align_corners=False, antialias=True)
    top, left = (sides[0] - size) // 2, (sides[1] - size) // 2
    x = x[..., top : top + size, left : left + size].expand(-1, 3, -1, -1)
    # By plain numbers: a tensor made of them here would be a copy to the device at every step.
    return torch.stack(
        [((c + 1) / 2 - m) / s for c, m, s in zip(x.unbind(1), mean, std, strict=True)], 1
    )


@dataclass(frozen=True)
class CLIP:
    """An image–text similarity as a :class:`~diffdescent.guidance.Guide`: the gradient of

        weight · ⟨f/‖f‖, g/‖g‖⟩,    f = encode(x, point), g = text

    (GLIDE, Nichol et al. 2022, section 2.3, where f is an encoder that knows noise and sees x_t; an
    ordinary CLIP belongs on the estimate of x0, ``Guided(…, on="x0")``).

    ``text`` is one embedding (D,) for all samples, or one for each label (K, D); the label −1 then
    has no gradient. ``encode`` is any differentiable map to (B, D); the embeddings are compared in
    float32. :meth:`of` makes one of a ``transformers`` model. ``weight`` is CLIP's inverse
    temperature.

    Raises:
        UserError: embeddings that do not fit, labels that are missing or have no text, and an
            encoder without gradient.
    """

    encode: Callable[[Tensor, Point], Tensor]
    text: Tensor
    weight: float = 100.0
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        if self.text.ndim not in (1, 2):
            raise UserError(
                f"Text embeddings have shape (D,) or (labels, D), not {tuple(self.text.shape)}."
            )

    @classmethod
    def of(
        cls,
        model: Any,
        *,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        text: Tensor | None = None,
        fingerprint: str | None = None,
    ) -> CLIP:
        """A ``transformers.CLIPModel``, its own temperature, and either token ids (K, length) or
        embeddings.

        One row of ids is one text for all samples.

        Raises:
            UserError: unless exactly one of the two is given.
        """
        if (input_ids is None) == (text is None):
            raise UserError(
                "CLIP guidance needs one text: give input_ids, or text embeddings, and not both."
            )
        dtype, size = model.dtype, int(model.config.vision_config.image_size)
        if text is None:
            with torch.no_grad():
                text = _features(
                    model.get_text_features(input_ids=input_ids, attention_mask=attention_mask)
                )
            text = text[0] if len(text) == 1 else text

        def encode(x: Tensor, point: Point) -> Tensor:
            pixels = clip_pixels(x.to(torch.promote_types(dtype, torch.float32)), size)
            return _features(model.get_image_features(pixel_values=pixels.to(dtype)))

        return cls(encode, text, float(model.logit_scale.detach().exp()), fingerprint)

    def through(self, decode: Callable[[Tensor], Tensor]) -> CLIP:
        """The same for states that ``decode`` makes images of, differentiably."""
        return replace(self, encode=lambda x, point: self.encode(decode(x), point))

    @property
    def label_count(self) -> int | None:
        """How many labels have a text; None where one text serves all."""
        return len(self.text) if self.text.ndim == 2 else None

    def __call__(self, x: Tensor, point: Point, labels: Tensor | None) -> Tensor:
        return gradient_of(
            lambda leaf: self.similarity(leaf, point, labels), x, None, "The image encoder"
        )

    def similarity(self, x: Tensor, point: Point, labels: Tensor | None) -> Tensor:
        """weight · cosine of each image and its text, (B,); 0 for the label −1."""
        f = self.encode(x, point)
        f = f.to(torch.promote_types(f.dtype, torch.float32))
        if f.shape != (len(x), self.text.shape[-1]):
            raise UserError(
                f"The image embeddings have shape {tuple(f.shape)}, the text embeddings"
                f" {tuple(self.text.shape)}; both must come from one model."
            )
        text = self.text.to(f)
        if text.ndim == 1:
            return self.weight * F.cosine_similarity(f, text[None])
        if labels is None:
            raise UserError("There is a text for each label; give labels, one for each sample.")
        cosine = F.cosine_similarity(f, text[labels.clamp(min=0)])
        return torch.where(labels >= 0, self.weight * cosine, 0.0)


def _features(found: Any) -> Tensor:
    """The projected embeddings, which newer versions of transformers hand over within an output
    object."""
    features: Tensor = getattr(found, "pooler_output", found)
    return features


def prompts_of(prompt: str, classes: Sequence[str] | None) -> list[str]:
    """One text for all labels, or one for each of ``classes``, whose name ``{}`` stands for.

    Raises :class:`UserError` for ``{}`` without names of classes.
    """
    if "{}" not in prompt:
        return [prompt]
    if not classes:
        raise UserError(
            f"The prompt {prompt!r} asks for the label's name, and the model names no classes."
        )
    return [prompt.replace("{}", name) for name in classes]


def load_clip(
    folder: str,
    prompt: str,
    classes: Sequence[str] | None = None,
    device: torch.device | str = "cpu",
) -> CLIP:
    """A CLIP folder (``transformers``: weights in safetensors, and its tokenizer) with a prompt.

    ``{}`` in the prompt stands for the label's name, one text for each of ``classes``.

    Raises:
        UserError: a folder that is not a CLIP, missing extras, and ``{}`` without names of classes.
    """
    try:
        from transformers import AutoTokenizer, CLIPModel
    except ImportError:
        raise UserError(
            "CLIP needs transformers; install it with: pip install 'diffdescent[diffusers]'."
        ) from None
    if not Path(folder).is_dir():
        raise UserError(
            f"There is no folder {folder!r}; give the folder of a CLIP model, clip(model='FOLDER')."
        )
    prompts = prompts_of(prompt, classes)
    try:
        model, loaded = CLIPModel.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
        if loaded["missing_keys"]:  # the library would go on with random numbers
            raise ValueError(f"{len(loaded['missing_keys'])} of its weights are not there")
        tokens = AutoTokenizer.from_pretrained(folder, local_files_only=True)(
            prompts, padding=True, truncation=True, return_tensors="pt"
        )
    except Exception as error:  # a damaged folder can raise anything in the library
        raise UserError(
            f"{folder} is not a CLIP folder with its tokenizer ({reason(error)})."
        ) from error
    model = model.to(device).eval().requires_grad_(False)
    ids, mask = (tokens[key].to(device) for key in ("input_ids", "attention_mask"))
    return CLIP.of(
        model, input_ids=ids, attention_mask=mask, fingerprint=weights_fingerprint(Path(folder))
    )
