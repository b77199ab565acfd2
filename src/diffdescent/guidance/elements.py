"""The elements of a guidance text: sources around a model, and what is done with their gradients or
directions.

A new source is a frozen dataclass of its options over :class:`Element`, made known by
:func:`source`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from diffdescent.base.errors import UserError
from diffdescent.base.words import shown
from diffdescent.core.model_info import info
from diffdescent.core.namespace import Namespace
from diffdescent.core.options import In, Options
from diffdescent.core.predict import Predictor
from diffdescent.core.transforms.apg import APG, Eta, Momentum, Norm, Scale
from diffdescent.core.transforms.base import Transform
from diffdescent.core.transforms.projection import Scope, Share, ZeroNorm
from diffdescent.core.transforms.pxp import FreePxP, PxP
from diffdescent.core.transforms.rescale import Rescale

from .cfg import ClassifierFree, ClassifierFreePlus, Clip, FreeScale
from .guide import Guide
from .guided import GradientScale, Guided, Sight

Level = Annotated[float, In(0, hint="noise levels are values of σ/α, such as [0.3, 2]")]
Interval = tuple[Level, Level]
AnyShift = Literal["auto", "mean", "score"]
Applied = tuple[Predictor, tuple[Transform, ...]]


class Element(Options, ABC):
    """One element of a guidance text: frozen options and what they do to a model."""

    @property
    def whole_batch(self) -> bool:
        """Whether an image under it depends on the others of its batch. Default: no."""
        return False

    @abstractmethod
    def apply(self, model: Predictor, guide: Guide | None) -> Applied:
        """The guided model, and the transforms that belong to it."""


_NAMES = Namespace({})
SOURCES: dict[str, type[Element]] = _NAMES.table("guidance")
"""What can guide a model, by name."""
ACTIONS: dict[str, type[Transform]] = _NAMES.table("guidance action")
"""What can be done with a guidance, by name: registered transforms."""
for _action in (Rescale, PxP):
    _NAMES.add("guidance action", _action.name, _action)
E = TypeVar("E", bound=type[Any])


def source(name: str) -> Callable[[E], E]:
    """Make a source of guidance known to texts by ``name``.

    Args:
        name: in texts.

    Returns:
        A decorator for a frozen dataclass of the source's options.

    Raises:
        UserError: a name that is taken, and a class that is not a frozen dataclass.
    """

    return _NAMES.frozen("guidance", name)


@source("cfg")
@dataclass(frozen=True)
class Free(Element):
    """Classifier-free guidance (:class:`ClassifierFree`).

    Args:
        scale: 1 is the conditional model, 0 the unconditional one.
        interval: (low, high) of σ/α within which the guidance acts; None is everywhere.
        clip: both estimates of x0 are clamped to ± this before they are combined; None leaves them.
        unconditional: another model that is asked without a label, by name or folder; None asks the
            same one.
        together: whether both questions are asked in one batch.
    """

    scale: FreeScale = 1.5
    interval: Interval | None = None
    clip: Clip | None = None
    unconditional: str | None = None
    together: bool = True

    def apply(self, model: Predictor, guide: Guide | None) -> Applied:
        return self.around(ClassifierFree, model), ()

    def around(self, kind: type[ClassifierFree], model: Predictor) -> ClassifierFree:
        """``model`` within classifier-free guidance of a kind.

        Raises:
            UserError: where it knows no classes.
        """
        known = info(model)
        if not known.conditional:
            raise UserError(
                f"{self.name} needs a model with classes, and {known.name!r} knows none; use"
                " classifier(model=…), or say label_count= where you wrap a network of your own."
            )
        other = None if self.unconditional is None else _model(self.unconditional, model)
        return kind(model, self.scale, other, self.clip, self.together, interval=self.interval)


@source("apg")
@dataclass(frozen=True)
class Projected(Free):
    """Classifier-free guidance under adaptive projection (:class:`APG`).

    Args:
        eta: the share of the part along the estimate that is kept.
        norm: the direction's greatest norm; infinite leaves it.
        momentum: β of the running direction.
    """

    scale: Scale = 4.0
    eta: Eta = 0.0
    norm: Norm = math.inf
    momentum: Momentum = -0.5

    def apply(self, model: Predictor, guide: Guide | None) -> Applied:
        return self.around(ClassifierFree, model), (
            APG(self.scale, self.eta, self.norm, self.momentum),
        )


@source("cfgpp")
@dataclass(frozen=True)
class FreePlus(Free):
    """CFG++, which renoises with the unconditional ε (:class:`ClassifierFreePlus`)."""

    scale: FreeScale = 0.6

    def apply(self, model: Predictor, guide: Guide | None) -> Applied:
        return self.around(ClassifierFreePlus, model), ()


@dataclass(frozen=True)
class Gradient(Element):
    """:class:`Guided` by a gradient; for ``shift="auto"`` see
    :meth:`~diffdescent.guidance.text.Guidance.settled`.

    Args:
        scale: of the gradient; 1 is the true posterior, 0 no guidance.
        shift: what is moved: "mean" (stochastic steps), "score" (any step), or "auto", by the
            sampler.
        on: the image that the guide sees: "x", "x0" or "x0_frozen".
        interval: (low, high) of σ/α within which the guidance acts; None is everywhere.
        conditional: whether the labels go to the model too.
    """

    scale: GradientScale = 1.0
    shift: AnyShift = "auto"
    on: Sight = "x"
    interval: Interval | None = None
    conditional: bool = False

    def apply(self, model: Predictor, guide: Guide | None) -> Applied:
        assert self.shift != "auto"
        chosen: object = self.guide(model, guide)
        if not callable(chosen):
            raise UserError(
                f"The guidance {self.name!r} gave {shown(chosen)} for a guide; let its method guide"
                " return a function (x, point, labels) → gradient, such as Energy(…)."
            )
        return (
            Guided(
                model,
                chosen,
                self.scale,
                self.shift,
                self.conditional,
                self.on,
                interval=self.interval,
            ),
            (),
        )

    @abstractmethod
    def guide(self, model: Predictor, given: Guide | None) -> Guide:
        """What gives the gradient; ``given`` is handed over in Python."""


@dataclass(frozen=True)
class FreeProjection(Element):
    """``pxp`` after classifier-free guidance: :class:`FreePxP`. Of ``delta`` the first is what the
    guidance loses and the second what the estimate loses; there is no noise in it, so a third and
    fourth change nothing.
    """

    delta: tuple[Share, ...] = (1.0, 1.0)
    scope: Scope = "sample"
    zero: ZeroNorm = "own"
    name: ClassVar[str] = "pxp"

    def check_together(self) -> None:
        if len(self.delta) not in (2, 4):
            raise UserError(
                "pxp's delta has two or four numbers after classifier-free guidance, not"
                f" {self.delta}."
            )

    @property
    def whole_batch(self) -> bool:
        return self._transform.whole_batch

    @property
    def _transform(self) -> FreePxP:
        return FreePxP(self.delta[1], self.delta[0], self.scope, self.zero)

    def apply(self, model: Predictor, guide: Guide | None) -> Applied:
        return model, (self._transform,)


def _model(name: str, like: Predictor) -> Predictor:
    from diffdescent.models import load_model

    return load_model(name, str(info(like).device))
