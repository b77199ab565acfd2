"""What a step consists of: how much of a new state is denoising, noise and guidance.

The states of one step are linear in the state x_n where it begins, in its evaluations, its
gradients and its noise. Written with the estimates of x0 (or of ε) held as they are,

    x = Z·x_n + [Σ_j C_j x0_j] + [Σ_k s_k z_k] + [Σ_j C_j g_j] + (states of earlier steps),

the brackets are the denoising, diversity and guidance parts, and g_j is what guidance adds to the
estimate of x0 at evaluation j. An inner stage is such a state itself, so its brackets come along
wherever it is used. The same step is the same sum whatever the solver's own basis is. Evaluations
of earlier steps are estimates like any other: gradients are not remembered with them; the direction
of classifier-free guidance is, and counts as denoising from then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.linear import combine
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Basis
from diffdescent.core.process import Point
from diffdescent.core.transforms.base import Displacement, StepParts

Terms = list[tuple[float, Tensor]]


@dataclass(slots=True)
class Ingredients:
    """Σ c·tensor of each kind in one state."""

    denoise: Terms = field(default_factory=list)
    diversity: Terms = field(default_factory=list)
    guidance: Terms = field(default_factory=list)

    def add(self, factor: float, other: Ingredients | None) -> None:
        """Take in ``factor`` times what another state consists of."""
        if not factor or other is None:
            return
        for mine, theirs in zip(self._kinds(), other._kinds(), strict=True):
            mine += [(factor * c, x) for c, x in theirs]

    def move_to_guidance(self, c: float, direction: Tensor) -> None:
        """c·``direction`` is in the denoising part and belongs to the guidance."""
        self.denoise.append((-c, direction))
        self.guidance.append((c, direction))

    def parts(self, like: Tensor) -> StepParts:
        """The sums, of ``like``'s shape; a diversity part only where there is noise."""
        denoise, guidance = (
            combine(t) if t else torch.zeros_like(like) for t in (self.denoise, self.guidance)
        )
        return StepParts(denoise, combine(self.diversity) if self.diversity else None, guidance)

    def _kinds(self) -> tuple[Terms, Terms, Terms]:
        return self.denoise, self.diversity, self.guidance


def per_x0(at: Point, basis: Basis) -> float:
    """How an estimate in ``basis`` follows a change of x0: ε = (x − α x0)/σ; at σ = 0, where x/α is
    x0, not at all."""
    if basis == "x0":
        return 1.0
    return -at.alpha / at.sigma if at.sigma else 0.0


@dataclass(slots=True)
class Evaluated:
    """One evaluation as a step uses it.

    ``basis`` is what the row's coefficient multiplies. ``score`` is a gradient of log p(y | x) that
    the step adds to it, ``direction`` what classifier-free guidance has already added, in units of
    x0. ``estimate`` is the evaluation as the basis in which the parts are wanted, and ``inside``
    what the state consists of at which it was taken, if that is an inner state of the step under
    way.
    """

    at: Point
    basis: Basis
    score: Tensor | None = None
    direction: Tensor | None = None
    estimate: Terms = field(default_factory=list)
    inside: Ingredients | None = None

    def forget(self, keep_guidance: bool) -> None:
        """The step has ended. Guidance is kept where the next one begins with this evaluation
        (UniPC's corrector)."""
        self.inside = None
        if not keep_guidance:
            self.score = self.direction = None

    def store(self, basis: Basis, value: Tensor, wanted: Basis | None) -> None:
        """The history holds it as ``value`` in ``basis``; the estimate becomes one tensor, the same
        where it can."""
        self.basis = basis
        if self.estimate:
            self.estimate = [(1.0, value if basis == wanted else combine(self.estimate))]

    def gradient(self, c: float) -> Terms:
        """What the score adds to c times the evaluation: x0 += σ²/α·∇, which is ε −= σ·∇."""
        if self.score is None or not c or not self.at.alpha:  # at pure noise x does not depend on y
            return []
        return [
            (
                c * (self.at.sigma**2 / self.at.alpha if self.basis == "x0" else -self.at.sigma),
                self.score,
            )
        ]

    def contribute(self, c: float, wanted: Basis, to: Ingredients) -> None:
        """Add the denoising part of c times the evaluation, read as ``wanted``, and what comes with
        it.

        With x0 held, ε = (x − α x0)/σ; with ε held, x0 = (x − σ ε)/α. Where that is undefined (σ =
        0, α = 0) the evaluation is a function of the state and of nothing else, and has no part.
        """
        factor, on_state = c, 0.0
        if wanted != self.basis:
            own, other = (
                (self.at.sigma, self.at.alpha) if wanted == "x0" else (self.at.alpha, self.at.sigma)
            )
            if not own:
                return
            factor, on_state = -c * other / own, c / own
        to.denoise += [(factor * k, x) for k, x in self.estimate]
        to.add(on_state, self.inside)
        if self.direction is not None:
            to.move_to_guidance(c * per_x0(self.at, self.basis), self.direction)


def wanted_parts(displacements: Sequence[Displacement]) -> Basis | None:
    """The basis in which a transform wants to see the denoising part of a step, if one does."""
    wanted = {d.wants_parts for d in displacements} - {None}
    if len(wanted) > 1:
        raise UserError(
            "Two transforms of one chain define the denoising gradient differently; give both one"
            " definition."
        )
    return next(iter(wanted), None)


def from_elsewhere(
    plan: Plan, history: Sequence[Tensor], first_row: int, wanted: Basis | None
) -> list[Evaluated | None]:
    """Evaluations that a run starts with. What they were taken from is unknown, so they cannot be
    read otherwise."""
    if not history or wanted is None:
        return [None] * len(history)
    before = plan.rows[first_row - 1]
    basis = before.keep_basis or before.basis
    if basis != wanted:
        raise UserError(
            f"{plan.name} was given its history as {basis}, from which the parts of its first steps"
            " are not known; start it without a history."
        )
    return [Evaluated(before.at, basis, estimate=[(1.0, h)]) for h in history]
