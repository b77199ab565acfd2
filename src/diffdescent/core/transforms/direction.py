"""The direction of classifier-free guidance, on which APG, rescale and PxP act.

They are estimate transforms over a model under classifier-free guidance: they see D̃ = D_c + Δ with
Δ = w(D_c − D_∅) as x0 and ``direction``, and come before thresholds. What APG and rescale change is
the direction's (``of_direction``), so that PxP after them takes the new one apart. CFG++ and
guidance intervals are in the package of guidance: they change what is evaluated.
"""

from __future__ import annotations

from torch import Tensor

from diffdescent.base.errors import UserError

from .base import Evaluation


def direction_of(evaluation: Evaluation, name: str) -> Tensor:
    """Δ. Raises :class:`UserError` where there is no classifier-free guidance; ``name`` is the
    transform that asks."""
    if evaluation.direction is None:
        raise UserError(
            f"{name} needs classifier-free guidance, and this model has none; use"
            " ClassifierFree(…)."
        )
    return evaluation.direction
