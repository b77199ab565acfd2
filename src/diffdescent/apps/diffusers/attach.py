"""Guidance in unmodified pipelines: putting it between a denoiser and its scheduler, and taking it
off again."""

from __future__ import annotations

from typing import Any, get_args

import torch
from torch import Tensor

from diffdescent.base.errors import UserError, unknown

from .data_term import DataTerm
from .guidance import FORMS, Form, Guidance
from .scheduler import DescentScheduler


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


def attach(
    pipe: Any,
    guidance: str = "",
    *,
    form: Form | None = None,
    y: Tensor | None = None,
    operator: str = "mask",
    noise: float = 0.0,
    method: str = "diffpir",
) -> None:
    """Put a guidance text between ``pipe``'s denoiser and its :class:`DescentScheduler`, such as
    ``"cfg | pxp"``, or a data term y = A(image) + noise, or both.

    ``cfg`` leaves the pipeline's own scale; ``cfg(scale=4)`` and ``apg(scale=4)`` replace it (the
    pipeline must still ask both questions). Then ``rescale`` and ``pxp`` as in guidance texts.
    ``form`` says how a pipeline that is not known asks. Attach after ``torch.compile``. A
    :class:`DescentScheduler` that takes the scheduler's place later is followed; with another one
    the pipeline's next call raises :class:`UserError`.
    :func:`detach` restores everything.

    With ``y`` the images answer for what was measured of them: each estimate is changed by
    ``method``. Behind an autoencoder a ``mask`` keeps the photo's latents where the photo is known
    as a whole (ddnm or diffpir), and every other operator measures the decoded image, through the
    decoder's gradient (diffpir by Gauss–Newton, or reddiff). Pipelines of pixels take all three.

    Args:
        pipe: a diffusers pipeline with a :class:`DescentScheduler`.
        guidance: a guidance text; "" for a data term alone.
        form: how a pipeline that is not known asks its network; None recognises it.
        y: what was measured of the images in [−1, 1]: one measurement for all, or (B, …).
        operator: the text of what measured it.
        noise: σ_n, in the units of y.
        method: ddnm, diffpir or reddiff, with options as in restoration.

    Raises:
        UserError: another scheduler, a pipeline that is not known, a text or method that cannot be
            attached, and where something is attached already. At the run's first step: a y that
            does not fit the images, and packed latents.
    """
    scheduler, denoiser = getattr(pipe, "scheduler", None), _denoiser(pipe)
    if not isinstance(scheduler, DescentScheduler):
        raise UserError(
            f"attach needs a DescentScheduler, not {type(scheduler).__name__}; first set"
            " pipe.scheduler = DescentScheduler.from_config(pipe.scheduler.config, recipe=…)."
        )
    if _attached(denoiser) or scheduler.guidance is not None:
        raise UserError("A guidance is attached to this pipeline already; call detach(pipe) first.")
    if not guidance and y is None:
        raise UserError('Say what to attach: a guidance text such as "cfg | pxp", or y=.')
    measured = None if y is None else DataTerm.build(pipe, y, operator, noise, method)
    made = Guidance(guidance, _form(pipe, form) if guidance else None, measured)
    made.handle = denoiser.register_forward_hook(made)
    made.serve(pipe)


def detach(pipe: Any) -> None:
    """Take the guidance off again: the denoiser, its hooks and the scheduler are what they were.

    Args:
        pipe: a pipeline with a guidance attached.

    Raises:
        UserError: where none is attached.
    """
    found = _attached(_denoiser(pipe))
    if not found:
        raise UserError(
            "No guidance is attached to this pipeline; attach(pipe, 'cfg | pxp') attaches one."
        )
    for one in found:
        one.handle.remove()
        one.scheduler.guidance = None


def _attached(denoiser: torch.nn.Module) -> list[Guidance]:
    return [hook for hook in denoiser._forward_hooks.values() if isinstance(hook, Guidance)]
