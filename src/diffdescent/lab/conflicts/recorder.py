"""Transforms that record the Gram matrix of a step's parts on the device."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from diffdescent.core.plan import Plan
from diffdescent.core.predict import Basis
from diffdescent.core.transforms.base import (
    Commit,
    Displacement,
    Estimate,
    Evaluation,
    StepParts,
)
from diffdescent.core.transforms.pxp import FreePxP, PxP

if TYPE_CHECKING:
    from diffdescent.core.recipe import Recipe


@dataclass
class Recorder(Displacement):
    """A displacement transform that measures the parts of each step under ``rule``; it takes rule's
    step if that is ``applied``, the sampler's own otherwise. ``grams`` are (B, 6, 6), one a step,
    on the device."""

    rule: PxP
    applied: bool
    grams: list[Tensor] = field(default_factory=list, init=False)
    name: ClassVar[str] = "recorder"
    linear: ClassVar[bool] = False

    @property
    def wants_parts(self) -> Basis:
        """As the rule does."""
        return self.rule.wants_parts

    def init(self, plan: Plan) -> int:
        return self.rule.init(plan)

    def update(self, state: int, commit: Commit) -> tuple[Tensor, int]:
        raw = _exact(self.rule.parts(commit))
        self.grams.append(gram(raw, self.rule.conflicts.kept(raw, self.rule.delta_at(state))))
        return self.rule.update(state, commit) if self.applied else (commit.proposal, state + 1)


@dataclass
class FreeRecorder(Estimate):
    """``pxp_free`` itself, which measures A and B of each evaluation as it projects them."""

    rule: FreePxP
    grams: list[Tensor] = field(default_factory=list, init=False)
    name: ClassVar[str] = "recorder"
    linear: ClassVar[bool] = False

    def correct(self, evaluation: Evaluation) -> Tensor:
        raw = _exact(self.rule.parts(evaluation))
        self.grams.append(gram(raw, self.rule.conflicts.kept(raw, self.rule.delta)))
        return self.rule.correct(evaluation)


def _exact(parts: StepParts) -> StepParts:
    """In double precision, where the device has it: after a projection cosines are zero up to
    rounding."""
    dtype = torch.float32 if parts.guidance.device.type == "mps" else torch.float64
    diversity = None if parts.diversity is None else parts.diversity.to(dtype)
    return StepParts(parts.denoise.to(dtype), diversity, parts.guidance.to(dtype))


def gram(raw: StepParts, kept: StepParts) -> Tensor:
    """⟨v_i, v_j⟩ of (cls, den, div) before and after the projections, (B, 6, 6); zero where there
    is no noise.

    Args:
        raw: the parts of a step before the projections, each (B, C, H, W).
        kept: the parts after them.

    Returns:
        (B, 6, 6).
    """
    vectors = []
    for parts in (raw, kept):
        nothing = torch.zeros_like(parts.guidance)
        vectors += [
            parts.guidance,
            parts.denoise,
            nothing if parts.diversity is None else parts.diversity,
        ]
    flat = torch.stack([v.flatten(1) for v in vectors], dim=1)
    return flat @ flat.mT


def with_recorder(recipe: Recipe, recorder: Recorder | FreeRecorder) -> Recipe:
    """The recipe with the recorder in the place of the rule that it takes, or before all else where
    it takes none.

    Args:
        recipe: the chain.
        recorder: what is put into it.

    Returns:
        The new chain.
    """
    chain = list(recipe.transforms)
    own = rule_of(recipe)
    if own is None:
        chain.insert(0, recorder)
    else:
        chain[chain.index(own)] = recorder
    return replace(recipe, transforms=tuple(chain))


def rule_of(recipe: Recipe) -> PxP | FreePxP | None:
    """The first ``pxp`` of a chain, else its first ``pxp_free``.

    Args:
        recipe: the chain.

    Returns:
        The rule, or None.
    """
    for kind in (PxP, FreePxP):
        for transform in recipe.transforms:
            if isinstance(transform, kind):
                return transform
    return None
