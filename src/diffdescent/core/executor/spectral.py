"""States whose coefficients depend on the spatial frequency, made of the executor's tensors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.linear import combine
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Basis
from diffdescent.core.spectrum.rows import Spectral, SpectralRunner

from .answer import Answer
from .guidance import SPECTRAL


def spectral_runner(plan: Plan, x: Tensor, wanted: Basis | None) -> SpectralRunner | None:
    """What applies the spectral rows of ``plan`` to states like ``x``; None where it has none.

    Raises :class:`UserError` where a transform wants to see the parts of a step, and for states
    that are not images of the plan's channels.
    """
    if plan.spectral is None:
        return None
    if wanted is not None:
        raise UserError(
            f"{plan.name} weighs every spatial frequency differently, so a step cannot be taken"
            " apart into the gradients that pxp compares; use pxp with another sampler."
        )
    return SpectralRunner(x, plan.spectral.axes)


def spectral_state(
    runner: SpectralRunner,
    spectral: Spectral,
    answer: Answer | None,
    base: Tensor,
    history: Sequence[Tensor],
) -> Tensor:
    """One new state. A score of guidance belongs to the newest evaluation, in this step alone.

    Raises :class:`UserError` where ε does not follow x0.
    """
    if answer is None:
        return runner.step(spectral, base, ())
    if answer.x0_alone is not None:
        raise UserError(SPECTRAL)
    newest = answer.kept()
    score = [] if answer.evaluated is None else answer.evaluated.gradient(1.0)
    if score:
        newest = combine([(1.0, newest), *score])
    return runner.step(spectral, base, [newest, *history])
