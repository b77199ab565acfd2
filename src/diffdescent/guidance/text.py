"""Guidance as one line of text: sources around a model, and what is done with their gradients or
directions.

::

    guidance := element ("|" element)*        # elements as in diffdescent.core.recipe.grammar

    cfg(scale=1.5)  apg(scale=4)  cfgpp(scale=0.6)   classifier-free; at most one, first
    classifier(scale=1)  clip(model=…, prompt=…)  guide()   gradients; they add up
    rescale(0.7)                     after cfg or apg
    pxp(delta=1,1,1,1)               PixelAsParam, for the source before it; last for it

``"classifier(scale=2) | pxp"``, ``"cfg(scale=3, interval=[0.3, 2]) | rescale(0.7)"``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

from diffdescent.base.errors import UserError, unknown
from diffdescent.core.guidance_terms import Shift
from diffdescent.core.model_info import info
from diffdescent.core.options import options_of
from diffdescent.core.predict import Predictor
from diffdescent.core.process import Process
from diffdescent.core.recipe.grammar import Reader, bind, print_element
from diffdescent.core.transforms.apg import APG
from diffdescent.core.transforms.base import Transform
from diffdescent.core.transforms.projection import Scope, ZeroNorm
from diffdescent.core.transforms.pxp import FreePxP, PxP
from diffdescent.core.transforms.rescale import Rescale

from .cfg import ClassifierFree, ClassifierFreePlus
from .classifier import Guide, Guided, Sight
from .pretrained import default_guide, load_guide

if TYPE_CHECKING:
    from diffdescent.core.recipe import Recipe

Interval = tuple[float, float]
AnyShift = Literal["auto", "mean", "score"]
_TRIED = 4
"""Steps of the plan that tells whether a recipe's steps have a mean to move."""


class Element(Protocol):
    """One element of a guidance text: frozen options and what they do to a model."""

    name: ClassVar[str]

    def apply(
        self, model: Predictor, guide: Guide | None
    ) -> tuple[Predictor, tuple[Transform, ...]]:
        """The guided model, and the transforms that belong to it."""
        ...


@dataclass(frozen=True)
class Free:
    """``cfg``: :class:`ClassifierFree`; ``unconditional`` names another model."""

    scale: float = 1.5
    interval: Interval | None = None
    clip: float | None = None
    unconditional: str | None = None
    together: bool = True
    name: ClassVar[str] = "cfg"

    def apply(
        self, model: Predictor, guide: Guide | None
    ) -> tuple[Predictor, tuple[Transform, ...]]:
        return self.around(ClassifierFree, model), ()

    def around(self, kind: type[ClassifierFree], model: Predictor) -> ClassifierFree:
        """``model`` within classifier-free guidance of a kind. Raises :class:`UserError` where it
        knows no classes."""
        known = info(model)
        if not known.conditional:
            raise UserError(
                f"{self.name} needs a model with classes, and {known.name!r} knows none; use"
                " classifier(model=…), or say label_count= where you wrap a network of your own."
            )
        other = None if self.unconditional is None else _model(self.unconditional, model)
        return kind(model, self.scale, other, self.clip, self.together, interval=self.interval)


@dataclass(frozen=True)
class FreePlus(Free):
    """``cfgpp``: :class:`ClassifierFreePlus`."""

    scale: float = 0.6
    name: ClassVar[str] = "cfgpp"

    def apply(
        self, model: Predictor, guide: Guide | None
    ) -> tuple[Predictor, tuple[Transform, ...]]:
        return self.around(ClassifierFreePlus, model), ()


@dataclass(frozen=True)
class Projected(Free):
    """``apg``: :class:`ClassifierFree` under :class:`APG`."""

    scale: float = 4.0
    eta: float = 0.0
    norm: float = math.inf
    momentum: float = -0.5
    name: ClassVar[str] = "apg"

    def apply(
        self, model: Predictor, guide: Guide | None
    ) -> tuple[Predictor, tuple[Transform, ...]]:
        return self.around(ClassifierFree, model), (
            APG(self.scale, self.eta, self.norm, self.momentum),
        )


@dataclass(frozen=True)
class Own:
    """``guide``: :class:`Guided` by the guide that is handed over in Python; for ``shift="auto"``
    see :meth:`Guidance.settled`."""

    scale: float = 1.0
    shift: AnyShift = "auto"
    on: Sight = "x"
    interval: Interval | None = None
    conditional: bool = False
    name: ClassVar[str] = "guide"

    def apply(
        self, model: Predictor, guide: Guide | None
    ) -> tuple[Predictor, tuple[Transform, ...]]:
        assert self.shift != "auto"
        chosen = self.guide(model, guide)
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

    def guide(self, model: Predictor, given: Guide | None) -> Guide:
        """What gives the gradient."""
        if given is None:
            raise UserError(
                "guide() stands for a guide of your own; hand it over in Python, apply_guidance(…,"
                " guide=…)."
            )
        return given


@dataclass(frozen=True)
class Classified(Own):
    """``classifier``: :class:`Guided` by a classifier: ``model`` names one, else the one handed
    over in Python, else the bundled one of the model's classes."""

    model: str | None = None
    temperature: float = 1.0
    name: ClassVar[str] = "classifier"

    def guide(self, model: Predictor, given: Guide | None) -> Guide:
        if self.model is None and given is not None:
            return given
        name = self.model or default_guide(model)
        channels = None if model.shape is None else model.shape[0]
        device = info(model).device
        return load_guide(
            name, on=self.on, temperature=self.temperature, device=device, channels=channels
        )


@dataclass(frozen=True)
class ImageText(Own):
    """``clip``: :class:`Guided` by a CLIP folder's similarity with ``prompt``, in which ``{}`` is
    the label's name."""

    on: Sight = "x0"
    model: str | None = None
    prompt: str | None = None
    name: ClassVar[str] = "clip"

    def guide(self, model: Predictor, given: Guide | None) -> Guide:
        from .clip import load_clip

        if self.model is None or self.prompt is None:
            raise UserError(
                "clip() needs a model and a prompt: clip(model='FOLDER', prompt='a photo of a {}')."
            )
        return load_clip(
            self.model,
            self.prompt,
            info(model).classes,
            info(model).device,
        )


@dataclass(frozen=True)
class FreeProjection:
    """``pxp`` after classifier-free guidance: :class:`FreePxP`. Of ``delta`` the first is what the
    guidance loses and the second what the estimate loses; there is no noise in it, so a third and
    fourth say nothing.
    """

    delta: tuple[float, ...] = (1.0, 1.0)
    scope: Scope = "sample"
    zero: ZeroNorm = "own"
    name: ClassVar[str] = "pxp"

    def apply(
        self, model: Predictor, guide: Guide | None
    ) -> tuple[Predictor, tuple[Transform, ...]]:
        if len(self.delta) not in (2, 4):
            raise UserError(
                "pxp's delta has two or four numbers after classifier-free guidance, not"
                f" {self.delta}."
            )
        return model, (FreePxP(self.delta[1], self.delta[0], self.scope, self.zero),)


SOURCES: Mapping[str, type[Any]] = {
    cls.name: cls for cls in (Free, Projected, FreePlus, Classified, ImageText, Own)
}
"""What can guide a model, by name."""
ACTIONS: Mapping[str, type[Any]] = {cls.name: cls for cls in (Rescale, PxP)}
"""What can be done with a guidance, by name."""


@dataclass(frozen=True)
class Guidance:
    """What a guidance text says; ``str`` writes it with every option named and defaults left
    out."""

    elements: tuple[Any, ...]

    def __str__(self) -> str:
        return " | ".join(print_element(element) for element in self.elements)

    @property
    def whole_batch(self) -> bool:
        """Whether an image under it depends on the others of its batch."""
        return any(
            "batch" in (getattr(e, "scope", None), getattr(e, "zero", None)) for e in self.elements
        )

    def settled(self, recipe: Recipe, process: Process) -> Guidance:
        """The same with ``shift=auto`` as what it means under ``recipe``: ``mean`` where every step
        but the last draws noise around a mean that can be moved (``ddpm``, ``ddim(eta=1)``), else
        ``score``."""
        if not any(_is_auto(element) for element in self.elements):
            return self
        shift = _shift(recipe, process)
        return Guidance(tuple(replace(e, shift=shift) if _is_auto(e) else e for e in self.elements))


def _is_auto(element: Any) -> bool:
    return isinstance(element, Own) and element.shift == "auto"


def _shift(recipe: Recipe, process: Process) -> Shift:
    from diffdescent.core.recipe import default_grid, parse_grid

    if not recipe.solver.stochastic:
        return "score"
    plan = recipe.plan(parse_grid(default_grid(recipe, process), process, _TRIED))
    noisy = all(out.noise or out.log_var for row in plan.rows[:-1] for out in row.outputs)
    return "mean" if plan.single and noisy else "score"


def parse_guidance(text: str) -> Guidance:
    """The guidance that ``text`` describes (see the module's grammar).

    Raises :class:`UserError` for wrong syntax, names (with the nearest ones), options and values,
    and an order of elements that makes no sense.
    """
    reader = Reader(text, "classifier(scale=2) | pxp")
    elements: list[Any] = []
    while True:
        name = reader.name()
        positional, named = reader.arguments()
        if name not in SOURCES and name not in ACTIONS:
            raise unknown("guidance", name, [*SOURCES, *ACTIONS])
        cls = SOURCES[name] if name in SOURCES else _action(name, elements)
        elements.append(cls(**bind("The guidance", name, options_of(cls), positional, named)))
        _check_place(elements)
        if not reader.take("|"):
            break
    reader.skip()
    if reader.at != len(text):
        raise reader.error("'|' or the end")
    return Guidance(tuple(elements))


def _action(name: str, before: list[Any]) -> type[Any]:
    """The class of rescale or pxp after the elements ``before``."""
    source = next((e for e in reversed(before) if e.name in SOURCES), None)
    if source is None:
        raise UserError(
            f"{name} acts on a guidance and stands after it; write for example 'classifier(scale=2)"
            " | pxp'."
        )
    if isinstance(source, FreePlus):
        raise UserError(
            f"cfgpp renoises with the unconditional ε and stands alone; use {name} after cfg or"
            " apg."
        )
    if name == "rescale" and not isinstance(source, Free):
        raise UserError(
            "rescale compares the estimates with and without a label, so it follows cfg or apg,"
            f" not {source.name}."
        )
    return FreeProjection if name == "pxp" and isinstance(source, Free) else ACTIONS[name]


def _check_place(elements: list[Any]) -> None:
    """Whether the last of ``elements`` makes sense after the others."""
    *before, last = elements
    if isinstance(last, Free) and before:
        raise UserError(
            f"{last.name} asks the network itself and comes first, once; put {before[0].name}"
            " after it."
        )
    if any(type(e) is type(last) for e in before) and last.name in ACTIONS:
        raise UserError(f"{last.name} stands twice for one guidance; write it once.")
    if before and before[-1].name == "pxp" and last.name in ACTIONS:
        raise UserError(f"pxp takes the finished guidance apart, so it comes after {last.name}.")
    if isinstance(last, Own) and any(isinstance(e, PxP) for e in before):
        raise UserError(
            f"pxp resolves the conflicts of all gradients together; put it after {last.name}."
        )


def apply_guidance(
    text: str, model: Predictor, recipe: Recipe, *, guide: Guide | None = None
) -> tuple[Predictor, Recipe]:
    """``model`` and ``recipe`` under the guidance that ``text`` describes.

    Its transforms come before the recipe's own. ``guide`` is what ``guide()`` means, and
    ``classifier()`` when that names no model. Raises :class:`UserError` for a text that
    :func:`parse_guidance` refuses, for models that cannot be guided so, and for files that are
    missing.
    """
    front: list[Transform] = []
    for element in parse_guidance(text).settled(recipe, model.process).elements:
        if isinstance(element, (Rescale, PxP)):
            front.append(element)
            continue
        model, transforms = element.apply(model, guide)
        front += transforms
    return model, replace(recipe, transforms=(*front, *recipe.transforms))


def _model(name: str, like: Predictor) -> Predictor:
    from diffdescent.models import load_model

    return load_model(name, str(info(like).device))
