"""PixelAsParam (PxP): the gradients of one step lose what conflicts (projection.py), in two places.

Classifier-like guidance is a part of the step, x_s = Z x_t + denoise + diversity + guidance, and
:class:`PxP` is a displacement transform. Classifier-free guidance is a part of the estimate, D̃ =
D_c + w(D_c − D_u), which is clipped after the projection, and :class:`FreePxP` is an estimate
transform.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar

from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.options import Filled
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Basis

from .base import Commit, Displacement, Estimate, Evaluation, StepParts, register
from .denoising import Denoising, basis_of, regrouped
from .direction import direction_of
from .projection import Conflicts, Delta, Gate, Pairs, Partner, Scope, Share, ZeroNorm

Four = tuple[Share, Share, Share, Share]
Fours = Annotated[tuple[Four, ...], Filled("give four numbers, or four for each step")]


@register("pxp")
@dataclass(frozen=True)
class PxP(Displacement):
    """PixelAsParam: guidance, denoising and noise of a step lose what conflicts with the others.

    x_s = S − (what is taken away from each part of the step S); at δ = 0 exactly S.

    ``delta`` is (δ1, δ2, δ3, δ4), or one such for each step (the last one repeats). ``denoising``
    says what the denoising gradient is (:mod:`.denoising`); the other options are those of
    :class:`Conflicts`. The default is the paper's algorithm: x0 prediction, both pairs, per sample,
    the raw vectors deciding. It works over any solver, by the parts of each committed step
    (:mod:`diffdescent.core.executor.parts`); where a step has no noise there is no diversity part.

    Args:
        delta: (δ1, δ2, δ3, δ4), or one such for each step; the last repeats.
        pairs: which pairs of parts are made not to conflict.
        scope: over what inner products are summed: a sample, a channel, or the batch.
        gate: what decides that there is a conflict: the raw vectors, or the pair at hand.
        partner: on which vector the noise part is projected.
        zero: what a partner of norm zero disables.
        denoising: what the denoising gradient is.
        den_div: the share of the pair of denoising and noise that is removed.

    Raises:
        UserError: unknown options and δ that are not four finite numbers, and a model without
            guidance.
    """

    delta: Four | Fours = (1.0, 1.0, 1.0, 1.0)
    pairs: Pairs = ("cls-den", "cls-div")
    scope: Scope = "sample"
    gate: Gate = "raw"
    partner: Partner = "raw"
    zero: ZeroNorm = "own"
    denoising: Denoising = "x0"
    den_div: Share = 1.0
    linear: ClassVar[bool] = False
    neutral: ClassVar = {"delta": (0.0, 0.0, 0.0, 0.0), "den_div": 0.0}

    @cached_property
    def deltas(self) -> tuple[tuple[float, ...], ...]:
        """Four numbers for each step."""
        steps = tuple(d for d in self.delta if isinstance(d, tuple))
        return steps or (tuple(d for d in self.delta if not isinstance(d, tuple)),)

    @cached_property
    def conflicts(self) -> Conflicts:
        """The rule by which conflicts are found and resolved."""
        return Conflicts(self.pairs, self.scope, self.gate, self.partner, self.zero, self.den_div)

    @property
    def whole_batch(self) -> bool:
        """As :attr:`Conflicts.whole_batch`."""
        return self.conflicts.whole_batch

    @property
    def wants_parts(self) -> Basis:
        """The basis in which the denoising part of a step is read."""
        return basis_of(self.denoising)

    def parts(self, commit: Commit) -> StepParts:
        """The parts of a step under this definition.

        Raises:
            UserError: a step without guidance.
        """
        if commit.parts is None:
            raise UserError(
                "pxp resolves conflicts with a guidance gradient, and this model has none; use"
                " Guided(…) or ClassifierFree(…), on the command line --guidance."
            )
        return regrouped(commit.parts, self.denoising)

    def delta_at(self, step: int) -> Delta:
        """The δ of the step that is the ``step``-th to be committed."""
        return Delta(*self.deltas[min(step, len(self.deltas) - 1)])

    def init(self, plan: Plan) -> int:
        return 0

    def update(self, state: int, commit: Commit) -> tuple[Tensor, int]:
        off = self.conflicts.removed(self.parts(commit), self.delta_at(state))
        total = off.guidance.add_(off.denoise)
        if off.diversity is not None:
            total.add_(off.diversity)
        return commit.proposal - total, state + 1


@register("pxp_free")
@dataclass(frozen=True)
class FreePxP(Estimate):
    """PixelAsParam for classifier-free guidance: x0 = Â + B̂ with A = D_c and B = w(D_c − D_u),
    each less its projection on the other where ⟨A, B⟩ < 0.

    ``den_weight`` and ``cond_weight`` scale what A and B lose (at 0 and 0 nothing changes);
    ``scope`` and ``zero`` are those of :class:`Conflicts`. It comes first in a chain, before any
    threshold.

    Raises:
        UserError: weights that are not finite and unknown options, and a model without
            classifier-free guidance.
    """

    den_weight: Share = 1.0
    cond_weight: Share = 1.0
    scope: Scope = "sample"
    zero: ZeroNorm = "own"
    linear: ClassVar[bool] = False
    neutral: ClassVar = {"den_weight": 0.0, "cond_weight": 0.0}

    @cached_property
    def conflicts(self) -> Conflicts:
        """The rule by which a conflict is found and resolved."""
        return Conflicts(("cls-den",), self.scope, zero=self.zero)

    @property
    def whole_batch(self) -> bool:
        """As :attr:`Conflicts.whole_batch`."""
        return self.conflicts.whole_batch

    @property
    def delta(self) -> Delta:
        """What B and A lose, as the first pair of a step."""
        return Delta(cls_den=self.cond_weight, den=self.den_weight)

    def parts(self, evaluation: Evaluation) -> StepParts:
        """A and B of one evaluation.

        Raises:
            UserError: where there is no classifier-free guidance.
        """
        direction = direction_of(evaluation, self.name)
        return StepParts(evaluation.x0 - direction, None, direction)

    def correct(self, evaluation: Evaluation) -> Tensor:
        off = self.conflicts.removed(self.parts(evaluation), self.delta)
        return off.guidance.add_(off.denoise).neg_()


RELEASED: Mapping[str, PxP] = {
    "mlt": PxP(pairs=("cls-den",), scope="batch", gate="pair"),
    "mlt2": PxP(pairs=("cls-den",), gate="pair", zero="batch"),
    "cdiv": PxP(gate="pair", partner="projected", zero="batch"),
    "cdiv2": PxP(gate="pair", zero="batch"),
}
"""The released classes (pxpguided-diffusion, GaussianDiffusion…): all δ are 1, and one zero norm
stops a whole batch. The classifier-free one, MLT6, is ``FreePxP(den_weight, cond_weight,
zero="batch")``."""

PAPER: Mapping[str, PxP] = {
    "unconditional": PxP(),
    "conditional": PxP((1.0, 1.0, 1e-3, 1e-3)),
    "cifar10": PxP((0.1, 0.03, 0.03, 0.007)),
}
"""The paper's settings (table 7, 250 steps), used there with guidance scales of .5 (64²) or 1
(256²), .5 to .7, and .2."""
