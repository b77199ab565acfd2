"""The gradients that guidance texts name: a classifier's, a similarity's with a text, one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from diffdescent.base.errors import UserError
from diffdescent.core.model_info import info
from diffdescent.core.options import positive
from diffdescent.core.predict import Predictor

from .elements import Gradient, source
from .guide import Guide
from .guided import Sight
from .pretrained import default_guide, load_guide

Temperature = Annotated[float, positive("1 leaves the classifier as it is")]


@source("classifier")
@dataclass(frozen=True)
class Classified(Gradient):
    """``classifier``: :class:`Guided` by a classifier: ``model`` names one, else the one handed
    over in Python, else the bundled one of the model's classes.

    Args:
        model: a bundled classifier, or a folder; None as above.
        temperature: of its softmax; 1 leaves it as it is.
    """

    model: str | None = None
    temperature: Temperature = 1.0

    def guide(self, model: Predictor, given: Guide | None) -> Guide:
        if self.model is None and given is not None:
            return given
        name = self.model or default_guide(model)
        channels = None if model.shape is None else model.shape[0]
        device = info(model).device
        return load_guide(
            name, on=self.on, temperature=self.temperature, device=device, channels=channels
        )


@source("clip")
@dataclass(frozen=True)
class ImageText(Gradient):
    """``clip``: :class:`Guided` by a CLIP folder's similarity with a prompt. Latents are decoded
    for it, and its gradient goes back through the decoder.

    Args:
        model: a CLIP folder.
        prompt: such as ``'a photo of a {}'``; ``{}`` is the label's name.
    """

    on: Sight = "x0"
    model: str | None = None
    prompt: str | None = None

    def guide(self, model: Predictor, given: Guide | None) -> Guide:
        from .clip import load_clip

        if self.model is None or self.prompt is None:
            raise UserError(
                "clip() needs a model and a prompt: clip(model='FOLDER', prompt='a photo of a {}')."
            )
        known = info(model)
        found = load_clip(self.model, self.prompt, known.classes, known.device)
        if known.decode is None:
            return found
        if self.on == "x":
            raise UserError(
                "CLIP cannot see noisy latents; let it see their estimate: clip(on=x0_frozen, …)."
            )
        return found.through(known.decode)


@source("noised_clip")
@dataclass(frozen=True)
class NoisedImageText(Gradient):
    """``noised_clip``: :class:`Guided` by GLIDE's CLIP, which knows noise and sees x_t.

    Args:
        image: the folder of its image encoder, converted.
        text: the folder of its text encoder, converted.
        tokenizer: the folder of CLIP's tokenizer.
        prompt: such as ``'a photo of a {}'``; ``{}`` is the label's name.
    """

    image: str | None = None
    text: str | None = None
    tokenizer: str | None = None
    prompt: str | None = None

    def guide(self, model: Predictor, given: Guide | None) -> Guide:
        from .noised_clip import load_noised_clip

        if not (self.image and self.text and self.tokenizer and self.prompt):
            raise UserError(
                "noised_clip() needs its encoders, a tokenizer and a prompt:"
                " noised_clip(image='FOLDER', text='FOLDER', tokenizer='FOLDER', prompt='{}')."
            )
        known = info(model)
        if known.decode is not None:
            raise UserError("GLIDE's CLIP sees images; guide latents with clip(on=x0_frozen, …).")
        return load_noised_clip(
            self.image, self.text, self.tokenizer, self.prompt,
            known.classes, known.device, model.shape,
        )  # fmt: skip


@source("guide")
@dataclass(frozen=True)
class Own(Gradient):
    """``guide``: :class:`Guided` by the guide that is handed over in Python."""

    def guide(self, model: Predictor, given: Guide | None) -> Guide:
        """What gives the gradient."""
        if given is None:
            raise UserError(
                "guide() stands for a guide of your own; hand it over in Python, apply_guidance(…,"
                " guide=…)."
            )
        return given
