"""How guidance enters a step: the gradients of log p(y | x) that its evaluations carry, scaled for
one state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.guidance_terms import GuidanceTerms
from diffdescent.core.plan import Output, Plan

from .answer import Answer
from .parts import Evaluated, Terms

SPECTRAL = (
    "A calibrated sampler was fitted for an ε that follows x0; give a threshold eps=recompute, or"
    " use cfg in place of CFG++."
)
"""Why a calibrated sampler takes no correction of x0 alone."""


def guidance_terms(
    plan: Plan, out: Output, answer: Answer, known: Sequence[Evaluated | None]
) -> Terms:
    """s²·∇ on the mean of a step of variance s², and through the estimates, x0 += σ²/α·∇ or ε −=
    σ·∇, on the score; what moves the state itself, as it is. ``known`` are the
    evaluations of the history, newest first."""
    terms: Terms = []
    mean = answer.prediction.guidance.mean
    if mean is not None:
        _require_mean(plan)
        mean = mean.to(answer.raw.dtype)
        if out.log_var is not None:
            terms.append((1.0, mean * learned_sigma(out.log_var, answer).square()))
        else:
            terms.append(((out.noise if out.spread is None else out.spread) ** 2, mean))
    state = answer.prediction.guidance.state
    if state is not None and out.commit:
        _require_single(plan)
        terms.append((1.0, state.to(answer.raw.dtype)))
    return terms + [
        term
        for c, one in zip(out.evals, [answer.evaluated, *known], strict=False)
        if one is not None
        for term in one.gradient(c)
    ]


def learned_sigma(log_var: tuple[float, float], answer: Answer | None) -> Tensor:
    """The standard deviation between the two of ``log_var``, as the network says pixel by pixel."""
    if answer is None or answer.prediction.variance is None:
        raise UserError(
            "This sampler uses a learned variance, but the model predicts none; choose another one."
        )
    low, high = log_var
    fraction = (answer.prediction.variance.to(answer.raw.dtype) + 1) / 2
    return torch.exp(
        0.5 * torch.lerp(torch.full_like(fraction, low), torch.full_like(fraction, high), fraction)
    )


def require_guidable(plan: Plan, terms: GuidanceTerms) -> None:
    """Raise :class:`UserError` where steps of ``plan`` cannot take guidance with these terms.

    The values do not matter, so that it can be asked before anything is evaluated.
    """
    if terms.x0 is not None:
        if plan.spectral is not None:
            raise UserError(SPECTRAL)
        require_single_use(plan, "CFG++ renoises in samplers such as ddim and ddpm")
    if terms.mean is not None:
        _require_mean(plan)
    if terms.state is not None:
        _require_single(plan)


def require_single_use(plan: Plan, instead: str) -> None:
    """Where ε does not follow x0, an evaluation may enter one step alone."""
    if any(sum(bool(o.evals) for o in r.outputs) > 1 for r in plan.rows):
        raise UserError(
            f"{plan.name} uses an evaluation in two steps, so ε must follow x0; {instead}."
        )


def _require_single(plan: Plan) -> None:
    if not plan.single or plan.spectral is not None:
        raise UserError(
            f"{plan.name} has steps of several evaluations or coefficients for every frequency, to"
            " which no gradient can be added as it is; give dps the size 'search' or 'noise', or"
            " use ddpm or ddim."
        )


def _require_mean(plan: Plan) -> None:
    if not plan.stochastic:
        raise UserError(
            f"{plan.name} has no noise by whose variance its mean could be moved; give the guidance"
            " shift='score', or use ddpm or ddim(eta=1)."
        )
    if not plan.single:
        raise UserError(
            f"{plan.name} has inner states in its steps, which are then no Gaussians with a mean to"
            " move; give the guidance shift='score', or use ddpm or ddim(eta=1)."
        )
