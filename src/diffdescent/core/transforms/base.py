"""What a transform is: three slots around a plan.

* a :class:`Rewrite` is linear in the evaluations and turns one plan into another (gradient
  estimation);
* an :class:`Estimate` looks at x0 of each evaluation and returns a correction (thresholding) or
  nothing (a monitor);
* a :class:`Displacement` acts once a step on the committed state (momentum, projections).

Each is "base plus correction", so a neutral parameter gives the sampler beneath bit for bit. A new
transform is a frozen dataclass of its options over one of the three, made known to recipes by
:func:`register`; it then joins the contract suite of the tests.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeVar

from torch import Tensor

from diffdescent.base.errors import UserError
from diffdescent.core.namespace import RECIPE_NAMES
from diffdescent.core.options import Options, check_frozen
from diffdescent.core.plan import Plan
from diffdescent.core.predict import Basis
from diffdescent.core.process import Point

from .declaration import check_declaration


@dataclass(frozen=True)
class Evaluation:
    """One evaluation as an estimate transform sees it: x0 (after earlier transforms), the state,
    and where.

    ``direction`` is what classifier-free guidance has added to x0 (after earlier transforms that
    are :attr:`Estimate.of_direction`), or None. ``memory`` is the transform's own for the length of
    one run, empty at first, for what it remembers of each sample.
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
    where a transform declares by :attr:`Displacement.wants_parts` the basis of its denoising part;
    else None. ``spread`` is the noise's standard deviation, None where it is not one number.
    """

    step: int
    base: Tensor
    src: Point
    proposal: Tensor
    dst: Point
    noise: Tensor | None
    parts: StepParts | None = None
    spread: float | None = None


class Transform(Options, ABC):
    """A rewrite, an estimate or a displacement, and what it says of itself.

    Each class sets ``linear``: whether the result stays a linear function of the evaluations.
    ``neutral`` are the options with which a registered transform changes no bit, or None where it
    has none. ``name`` is what :func:`register` sets, or the class itself. What else a transform
    declares are attributes of the class or properties: ``keeps_eps = True``.

    Raises:
        UserError: when the class is defined, for a public attribute that is neither an option nor
            declared by a base class (a misspelt one), and where ``linear`` is missing.
    """

    name: ClassVar[str]
    linear: ClassVar[bool]
    neutral: ClassVar[Mapping[str, Any] | None]

    @property
    def whole_batch(self) -> bool:
        """Whether a sample's result depends on the others of its batch. Default: no."""
        return False

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        check_declaration(cls)


class Rewrite(Transform):
    """A linear transform of the plan itself."""

    @abstractmethod
    def rewrite(self, plan: Plan) -> Plan:
        """The plan with the transform folded into its coefficients."""


class Estimate(Transform):
    """A transform of x0, once per evaluation."""

    @property
    def keeps_eps(self) -> bool:
        """Whether ε stays as the network gave it, in place of following the new x0. Default: no."""
        return False

    @property
    def of_direction(self) -> bool:
        """Whether what it changes is the direction of classifier-free guidance, so that later
        transforms see the new one. Default: no."""
        return False

    @abstractmethod
    def correct(self, evaluation: Evaluation) -> Tensor | None:
        """What to add to x0, or None to leave it. The tensors of ``evaluation`` stay as they
        are."""


class Displacement(Transform):
    """A transform of the committed step."""

    @property
    def wants_parts(self) -> Basis | None:
        """In which basis it sees the denoising part of each guided step (:attr:`Commit.parts`), or
        None where it needs no parts. Default: None."""
        return None

    @abstractmethod
    def init(self, plan: Plan) -> Any:
        """The transform's own state before the first step."""

    @abstractmethod
    def update(self, state: Any, commit: Commit) -> tuple[Tensor, Any]:
        """The state of the sample that is committed in place of the proposal, and the transform's
        next state. Pure: neither ``state`` nor the tensors of ``commit`` change."""


TRANSFORMS: dict[str, type[Transform]] = RECIPE_NAMES.table("transform")
"""The transforms that a recipe's text can name."""
T = TypeVar("T", bound=type[Transform])


def register(name: str) -> Callable[[T], T]:
    """Make a transform known by ``name`` to the texts of recipes and to the contract suite.

    Raises:
        UserError: a name that is taken, and a class that is not a frozen dataclass or does not say
            what its ``neutral`` options are.
    """

    def add(cls: T) -> T:
        if not hasattr(cls, "neutral"):
            raise UserError(
                f"{cls.__name__} does not say with which options it changes nothing; set neutral ="
                " {…}, or neutral = None where there are none."
            )
        check_frozen(cls)
        RECIPE_NAMES.add("transform", name, cls)
        cls.name = name
        return cls

    return add
