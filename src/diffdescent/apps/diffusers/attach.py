"""Guidance in unmodified pipelines: the two predictions that classifier-free guidance merges, kept
apart for a step.

A pipeline hands its scheduler one output ũ = u_∅ + w(u_c − u_∅). :func:`attach` listens to the
denoiser (a forward hook) and remembers u_c and u_∅, so that the scheduler can tell the engine what
guidance has added, ũ − u_c. Transforms that need this direction (``pxp``, ``apg``, ``rescale``)
then work as they do on a guided model in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.guidance_terms import UNGUIDED, GuidanceTerms
from diffdescent.core.transforms import Estimate
from diffdescent.guidance import APG, FreePxP, Rescale, parse_guidance
from diffdescent.guidance.elements import Free as FreeGuidance
from diffdescent.guidance.elements import FreeProjection, Projected

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
    """What ``attach`` puts between a denoiser and its scheduler: the forward hook, and the text's
    transforms."""

    def __init__(self, text: str, form: Form) -> None:
        self.form = form
        self.scale: float | None = None
        self.estimates: tuple[Estimate, ...] = ()
        self.text = text
        self._outputs: list[Tensor] = []
        self.handle: Any = None
        for element in parse_guidance(text).elements:
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
        """The forward hook: remember what the denoiser has answered."""
        self._outputs.append(output if isinstance(output, Tensor) else output[0])

    def forget(self) -> None:
        """Drop the answers of a run that was broken off."""
        self._outputs.clear()

    def take(self, merged: Tensor) -> tuple[Tensor, GuidanceTerms]:
        """The guided output, and what guidance leaves with it. Raises :class:`UserError` where
        there was one answer only."""
        outputs, self._outputs = self._outputs, []
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


def _denoiser(pipe: Any) -> torch.nn.Module:
    for name in ("unet", "transformer"):
        module = getattr(pipe, name, None)
        if isinstance(module, torch.nn.Module):
            return module
    raise UserError(
        f"{type(pipe).__name__} has neither a unet nor a transformer that guidance could listen to."
    )


def _form(pipe: Any, asked: Form | None) -> Form:
    if asked is not None:
        if asked not in get_args(Form):
            raise unknown("form", asked, get_args(Form))
        return asked
    for cls in type(pipe).__mro__:
        if cls.__name__ in FORMS:
            return FORMS[cls.__name__]
    raise UserError(
        f"attach does not know how {type(pipe).__name__} asks for its conditional and unconditional"
        f" predictions; say form= one of {', '.join(map(repr, get_args(Form)))}."
    )


def attach(pipe: Any, guidance: str, *, form: Form | None = None) -> None:
    """Put a guidance text between ``pipe``'s denoiser and its :class:`DescentScheduler`, such as
    ``"cfg | pxp"``.

    ``cfg`` leaves the pipeline's own scale; ``cfg(scale=4)`` and ``apg(scale=4)`` replace it (the
    pipeline must still ask both questions). Then ``rescale`` and ``pxp`` as in guidance texts.
    ``form`` says how a pipeline that is not known asks. Attach after ``torch.compile``.
    :func:`detach` restores everything.

    Raises :class:`UserError` for another scheduler, a pipeline that is not known, a text that
    cannot be attached, and where something is attached already.
    """
    from .scheduler import DescentScheduler

    scheduler, denoiser = getattr(pipe, "scheduler", None), _denoiser(pipe)
    if not isinstance(scheduler, DescentScheduler):
        raise UserError(
            f"attach needs a DescentScheduler, not {type(scheduler).__name__}; first set"
            " pipe.scheduler = DescentScheduler.from_config(pipe.scheduler.config, recipe=…)."
        )
    if _attached(denoiser) or scheduler.guidance is not None:
        raise UserError("A guidance is attached to this pipeline already; call detach(pipe) first.")
    made = Guidance(guidance, _form(pipe, form))
    made.handle = denoiser.register_forward_hook(made)
    scheduler.guidance = made


def detach(pipe: Any) -> None:
    """Take the guidance off again: the denoiser, its hooks and the scheduler are what they were.

    Raises :class:`UserError` where none is attached.
    """
    found = _attached(_denoiser(pipe))
    if not found:
        raise UserError(
            "No guidance is attached to this pipeline; attach(pipe, 'cfg | pxp') attaches one."
        )
    for one in found:
        one.handle.remove()
        if getattr(pipe.scheduler, "guidance", None) is one:
            pipe.scheduler.guidance = None


def _attached(denoiser: torch.nn.Module) -> list[Guidance]:
    return [hook for hook in denoiser._forward_hooks.values() if isinstance(hook, Guidance)]
