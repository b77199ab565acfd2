"""What a transform is: three slots around a plan.

* a :class:`Rewrite` is linear in the evaluations and turns one plan into another (gradient
  estimation);
* an :class:`Estimate` looks at x0 of each evaluation and returns a correction (thresholding) or
  nothing (a monitor);
* a :class:`Displacement` acts once a step on the committed state (momentum, projections).

Each is "base plus correction", so a neutral parameter gives the sampler beneath bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

from torch import Tensor

from diffdescent.core.plan import Plan
from diffdescent.core.process import Point


@dataclass(frozen=True)
class Evaluation:
    """One evaluation as an estimate transform sees it: x0 (after earlier transforms), the state,
    and where.

    ``direction`` is what classifier-free guidance has added to x0 (after earlier transforms that
    say so by a true attribute ``of_direction``), or None. ``memory`` is the transform's own for the
    length of one run, empty at first, for what it remembers of each sample.
    """

    x0: Tensor
    x: Tensor
    at: Point
    step: int
    index: int
    direction: Tensor | None = None
    memory: dict[str, Tensor] = field(default_factory=dict)


class StepParts(NamedTuple):
    """What a step S adds to its anchor: S = Z·x_t + denoise + diversity + guidance.

    ``denoise`` is Σ c·x0 (or Σ c·ε) over the evaluations that the step uses, ``diversity`` its
    scaled noise (None where there is none), ``guidance`` what the gradients of log p(y | x_t), or
    classifier-free guidance, add to it. A step of several evaluations is taken apart in
    :mod:`diffdescent.core.executor.parts`.
    """

    denoise: Tensor
    diversity: Tensor | None
    guidance: Tensor


@dataclass(frozen=True)
class Commit:
    """One step as a displacement transform sees it: from ``base`` at ``src`` to the ``proposal`` S
    at ``dst``.

    ``noise`` is the scaled noise that S contains, or None. ``parts`` are those of a guided step,
    where a transform has an attribute ``wants_parts`` that names the basis of its denoising part,
    ``"x0"`` or ``"eps"``; else None.
    """

    step: int
    base: Tensor
    src: Point
    proposal: Tensor
    dst: Point
    noise: Tensor | None
    parts: StepParts | None = None


@runtime_checkable
class Rewrite(Protocol):
    """A linear transform of the plan itself."""

    name: ClassVar[str]
    linear: ClassVar[bool]

    def rewrite(self, plan: Plan) -> Plan:
        """The plan with the transform folded into its coefficients."""
        ...


@runtime_checkable
class Estimate(Protocol):
    """A transform of x0, once per evaluation.

    ε follows the new x0, unless the transform has an attribute ``keeps_eps`` that is true.
    """

    name: ClassVar[str]
    linear: ClassVar[bool]

    def correct(self, evaluation: Evaluation) -> Tensor | None:
        """What to add to x0, or None to leave it."""
        ...


@runtime_checkable
class Displacement(Protocol):
    """A transform of the committed step. ``update`` is pure: it returns the new state of the sample
    and its own."""

    name: ClassVar[str]
    linear: ClassVar[bool]

    def init(self, plan: Plan) -> Any:
        """The transform's own state before the first step."""
        ...

    def update(self, state: Any, commit: Commit) -> tuple[Tensor, Any]:
        """The state that is committed in place of the proposal, and the transform's next state."""
        ...


Transform = Rewrite | Estimate | Displacement
