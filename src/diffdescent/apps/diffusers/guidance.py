"""What stands between a pipeline's denoiser and its scheduler: the two predictions that
classifier-free guidance merges, kept apart for a step.

A pipeline hands its scheduler one output ũ = u_∅ + w(u_c − u_∅). :func:`attach` listens to the
denoiser (a forward hook) and remembers u_c and u_∅, so that the scheduler can tell the engine what
guidance has added, ũ − u_c. Transforms that need this direction (``pxp``, ``apg``, ``rescale``)
then work as they do on a guided model in Python.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.guidance_terms import UNGUIDED, GuidanceTerms
from diffdescent.core.transforms import Estimate
from diffdescent.guidance import APG, FreePxP, Rescale, parse_guidance
from diffdescent.guidance.elements import Free as FreeGuidance
from diffdescent.guidance.elements import FreeProjection, Projected

from .data_term import DataTerm

Form = Literal["uncond-cond", "cond-uncond", "cond, uncond"]
"""How a pipeline asks both questions: in one batch with the unconditional half first; in one batch
with the conditional half first, the halves being stepped together (DiT); or in two calls, the
conditional one first."""

FORMS: dict[str, Form] = {
    **dict.fromkeys(
        (
            *(
                f"StableDiffusion{kind}Pipeline"
                for kind in ("", "Img2Img", "Inpaint", "ControlNet")
            ),
            *(f"StableDiffusionControlNet{kind}Pipeline" for kind in ("Img2Img", "Inpaint")),
            *(
                f"StableDiffusionXL{kind}Pipeline"
                for kind in ("", "Img2Img", "Inpaint", "ControlNet")
            ),
            *(
                f"StableDiffusion3{kind}Pipeline"
                for kind in ("", "Img2Img", "Inpaint", "ControlNet")
            ),
            *(
                "PixArtAlphaPipeline",
                "PixArtSigmaPipeline",
                "SanaPipeline",
                "LTXPipeline",
                "CogVideoXPipeline",
            ),
        ),
        "uncond-cond",
    ),
    "DiTPipeline": "cond-uncond",
    **dict.fromkeys(
        (
            *(f"Flux{kind}Pipeline" for kind in ("", "Img2Img", "Inpaint")),
            *("QwenImagePipeline", "HunyuanVideoPipeline", "ChromaPipeline", "CogView4Pipeline"),
        ),
        "cond, uncond",
    ),
}
"""The pipelines whose form is known, by the name of their class (or of a class that they derive
from)."""


class Guidance:
    """What ``attach`` puts between a denoiser and its scheduler: the forward hook, the text's
    transforms, and the data term of what was measured. Without a ``form`` there is no guidance."""

    def __init__(self, text: str, form: Form | None, measured: DataTerm | None = None) -> None:
        self.form, self.measured = form, measured
        self.scale: float | None = None
        self.estimates: tuple[Estimate, ...] = ()
        self.text = text
        self._outputs: list[Tensor] = []
        self.handle: Any = None
        self.scheduler: Any = None
        self._pipe: Any = lambda: None
        for element in parse_guidance(text).elements if text else ():
            self._add(element, bare=text.split("|")[0].strip() == "cfg")

    def _add(self, element: Any, bare: bool) -> None:
        if type(element) is FreeGuidance or isinstance(element, Projected):
            plain = type(element)(scale=element.scale)
            if (
                element.interval is not None
                or element.clip is not None
                or element.unconditional is not None
            ):
                raise UserError(
                    f"In a pipeline {element.name} has no interval, clip or unconditional=; the"
                    f" pipeline asks the network. Write {plain.name}(scale={plain.scale:g})."
                )
            self.scale = None if bare else element.scale
            if isinstance(element, Projected):
                self.estimates += (APG(element.scale, element.eta, element.norm, element.momentum),)
        elif isinstance(element, FreeProjection):
            self.estimates += (
                FreePxP(element.delta[1], element.delta[0], element.scope, element.zero),
            )
        elif isinstance(element, Rescale):
            self.estimates += (element,)
        else:
            raise UserError(
                f"{element.name} cannot be attached to a pipeline, whose own guidance is"
                " classifier-free; write cfg or apg, then rescale or pxp."
            )

    def __call__(self, module: torch.nn.Module, args: Any, output: Any) -> None:
        """The forward hook: remember what the denoiser has answered, for the scheduler that the
        pipeline has by now."""
        self._follow()
        self._outputs.append(output if isinstance(output, Tensor) else output[0])

    def serve(self, pipe: Any) -> None:
        """Belong to ``pipe`` and its scheduler."""
        self._pipe, self.scheduler = weakref.ref(pipe), pipe.scheduler
        self.scheduler.guidance = self

    def _follow(self) -> None:
        """Go over to the scheduler that has taken the place of the one at ``attach``.

        Raises :class:`UserError` where that cannot hold a guidance.
        """
        pipe = self._pipe()
        if pipe is None or pipe.scheduler is self.scheduler:
            return
        if getattr(pipe.scheduler, "guidance", self) is not None:
            raise UserError(
                f"{self.text!r} is attached, but the pipeline's scheduler is now a"
                f" {type(pipe.scheduler).__name__} that cannot run it; call detach(pipe), or set"
                " pipe.scheduler to a DescentScheduler of its own."
            )
        self.scheduler.guidance = None
        self.forget()
        self.serve(pipe)

    def forget(self) -> None:
        """Drop the answers of a run that was broken off."""
        self._outputs.clear()

    def around(self, sample: Tensor) -> tuple[tuple[Estimate, ...], tuple[Estimate, ...]]:
        """The transforms of a run from the state ``sample``: those before the recipe's own, and the
        data term's after them."""
        return self.estimates, () if self.measured is None else self.measured.estimates(sample)

    def take(self, merged: Tensor) -> tuple[Tensor, GuidanceTerms]:
        """The guided output, and what guidance leaves with it. Raises :class:`UserError` where
        there was one answer only."""
        outputs, self._outputs = self._outputs, []
        if self.form is None:
            return merged, UNGUIDED
        pair = _SPLIT[self.form](outputs, merged)
        if pair is None:
            if not self.estimates and self.scale is None:
                return merged, UNGUIDED
            raise UserError(
                f"{self.text!r} is attached, but the pipeline ran without classifier-free guidance;"
                " give it a guidance_scale (Flux: true_cfg_scale and a negative_prompt) above 1,"
                " or detach(pipe)."
            )
        with_label, without = pair
        if self.scale is not None:
            merged = without + (with_label - without) * self.scale
        return merged, GuidanceTerms(direction=merged - with_label)


Pair = tuple[Tensor, Tensor]


def _halves(outputs: Sequence[Tensor], merged: Tensor, factor: int) -> Pair | None:
    """The two halves of the answer to a batch ``factor`` times that of ``merged``; variance
    channels are left out."""
    both = next((o for o in outputs if len(o) == factor * len(merged)), None)
    if both is None:
        return None
    first, second = both[:, : merged.shape[1]].chunk(2) if merged.ndim > 3 else both.chunk(2)
    return first, second


def _uncond_cond(outputs: Sequence[Tensor], merged: Tensor) -> Pair | None:
    pair = _halves(outputs, merged, 2)
    return None if pair is None else (pair[1], pair[0])


def _cond_uncond(outputs: Sequence[Tensor], merged: Tensor) -> Pair | None:
    pair = _halves(outputs, merged, 1) if len(merged) % 2 == 0 else None
    return None if pair is None else (torch.cat([pair[0]] * 2), torch.cat([pair[1]] * 2))


def _two_calls(outputs: Sequence[Tensor], merged: Tensor) -> Pair | None:
    return (outputs[0], outputs[1]) if len(outputs) > 1 else None


_SPLIT: dict[Form, Callable[[Sequence[Tensor], Tensor], Pair | None]] = {
    "uncond-cond": _uncond_cond,
    "cond-uncond": _cond_uncond,
    "cond, uncond": _two_calls,
}
